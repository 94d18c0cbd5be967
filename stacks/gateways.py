"""Gateways of a stack: planned from the settings, checked against the cluster, and what the outputs say of them."""

import base64
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

import pulumi

from components.diagnostics import Diagnostic
from components.diagnostics.validation import join
from components.gateways.certificates import check_certificate, check_pair
from components.gateways.checks import check_gateway
from components.gateways.gateway_api import API_VERSION as GATEWAY_API
from components.gateways.model import EVERY_HOST, Gateway, GatewayApi, Listener, Tls, url
from components.manifests import Manifest
from components.meshes import MESHES
from components.traffic import Compilation
from stacks.cluster import Cluster, ClusterError, ClusterView
from stacks.ownership import owner_of
from stacks.settings import Settings

KEY = "meshup:gateways"
_ADDED: tuple[GatewayApi, ...] = ("gateway-api",)
MOST_PEM = 200_000
"""Bytes of a file with a certificate or a key."""


@dataclass(frozen=True)
class GatewaysPlan:
    """What a stack has of gateways.

    Attributes:
        gateways: The gateways.
        objects: Their objects, in order of creation.
        files: Name of each Secret that is made from files, and the files with certificate and key.
        hosts: The hosts that routes name, by the name of the gateway.
    """

    gateways: tuple[Gateway, ...] = ()
    objects: tuple[Manifest, ...] = ()
    files: Mapping[tuple[str, str], tuple[str, str]] = field(default_factory=dict[tuple[str, str], tuple[str, str]])
    hosts: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])


def declared(settings: Settings, mesh: str = "") -> tuple[list[Gateway], list[Diagnostic]]:
    """Return the gateways of a stack, and what is wrong with them by themselves.

    Args:
        settings: The settings of the stack.
        mesh: A mesh in place of the stack's own.
    """
    kind = MESHES[mesh or settings.mesh]
    namespace = kind.gateway_namespace(settings)
    # To a mesh that somebody else has installed, no chart adds pods.
    apis = kind.gateway_apis if settings.section(kind.settings).install else _ADDED
    gateways = [
        chosen.gateway(name, namespace, apis, kind.gateway_class, join(KEY, name))
        for name, chosen in settings.gateways.items()
    ]
    return gateways, [fault for gateway in gateways for fault in _check(gateway, settings, kind.name)]


def _check(gateway: Gateway, settings: Settings, mesh: str) -> Iterable[Diagnostic]:
    kind = MESHES[mesh]
    own = gateway.api == "istio" or gateway.class_name == kind.gateway_class
    yield from check_gateway(
        gateway, kind.gateway_apis, kind.data_plane.title, kind.reserved_ports if own else frozenset()
    )
    yield from settings.gateways[gateway.name].check_api(gateway, own=own)
    if gateway.api == "istio" and not settings.section(kind.settings).install:
        message = "Somebody else has installed the mesh, and meshup adds no pods to it by a chart."
        remedy = "Write api: gateway-api: then the control plane makes the pods."
        yield Diagnostic("MSH407", f"{gateway.where}.api", gateway.api, message, "gateway-api", remedy)


def plan(settings: Settings, gateways: Iterable[Gateway], traffic: Compilation) -> GatewaysPlan:
    """Plan the objects of gateways.

    Args:
        settings: The settings of the stack.
        gateways: The gateways, as `declared` returns them.
        traffic: The compiled routes, which say what each gateway serves.
    """
    kind = MESHES[settings.mesh]
    exposures = [(plan.route.service.namespace, plan.route.exposure) for plan in traffic.planned if plan.route.exposure]
    objects: list[Manifest] = []
    files: dict[tuple[str, str], tuple[str, str]] = {}
    hosts: dict[str, tuple[str, ...]] = {}
    listed = tuple(gateways)
    for gateway in listed:
        served = [(namespace, exposure) for namespace, exposure in exposures if exposure.gateway.name == gateway.name]
        namespaces = sorted({namespace for namespace, _ in served})
        hosts[gateway.name] = tuple(dict.fromkeys(host for _, exposure in served for host in exposure.hosts))
        objects += kind.gateway_objects(gateway, settings.gateways[gateway.name], namespaces)
        for listener in gateway.listeners:
            if listener.tls and listener.tls.files:
                files[gateway.namespace, listener.tls.secret] = listener.tls.files
    return GatewaysPlan(listed, tuple(objects), files, hosts)


def check_files(gateways: Iterable[Gateway], read_file: Callable[[str, int], str], now: datetime) -> list[Diagnostic]:
    """Check the files with certificates and keys.

    Args:
        gateways: The gateways.
        read_file: Reads a file: its path, and the most bytes that are read. It raises an OSError with the reason.
        now: The time by which certificates are judged.
    """
    diagnostics: list[Diagnostic] = []
    for listener in (listener for gateway in gateways for listener in gateway.listeners):
        if listener.tls is None or listener.tls.files is None:
            continue
        texts: dict[str, bytes] = {}
        for key, path in zip(("certificate", "key"), listener.tls.files, strict=True):
            try:
                texts[key] = read_file(path, MOST_PEM).encode()
            except OSError as error:
                message = f"The file can't be read: {error}."
                diagnostics.append(Diagnostic("MSH412", f"{listener.tls.where}.{key}", path, message))
        if "certificate" in texts and "key" in texts:
            diagnostics += [
                Diagnostic("MSH412", f"{listener.tls.where}.{part}", None, f"The file {fault}.")
                for part, fault in check_pair(texts["certificate"], texts["key"])
            ]
        certificate = texts.get("certificate", b"")
        diagnostics += check_certificate(certificate, listener.hosts, now, listener.tls.where)
    return diagnostics


def check(planned: GatewaysPlan, view: ClusterView, own: Container[str], now: datetime) -> list[Diagnostic]:
    """Compare gateways with the cluster.

    Args:
        planned: The gateways.
        view: The cluster.
        own: The names of this stack in annotations of its objects.
        now: The time by which certificates are judged.
    """
    diagnostics: list[Diagnostic] = []
    for gateway in planned.gateways:
        for listener in gateway.listeners:
            if listener.tls:
                diagnostics += _check_secrets(gateway, listener, listener.tls, view, now)
        diagnostics += _check_class(gateway, view)
        diagnostics += _check_claims(gateway, planned.hosts.get(gateway.name, ()), view, own)
        diagnostics += _check_address(gateway, view)
    return diagnostics


def _check_secrets(
    gateway: Gateway, listener: Listener, tls: Tls, view: ClusterView, now: datetime
) -> Iterator[Diagnostic]:
    """Check the Secrets of a listener that others make. Of their values, reports show host names and dates only."""
    if tls.issuer:
        crds = view.metadata("apiextensions.k8s.io/v1", "CustomResourceDefinition")
        if not any(item["name"] == "certificates.cert-manager.io" for item in crds):
            yield Diagnostic("MSH415", f"{tls.where}.issuer", tls.issuer.name, "The cluster has no cert-manager.")
    wanted = [] if tls.issuer or tls.files else [("secret", tls.secret, ("tls.crt", "tls.key"))]
    wanted += [("clientCa", tls.client_ca, ("ca.crt",))] if tls.client_ca else []
    if not wanted:
        return
    exists = any(item["name"] == gateway.namespace for item in view.metadata("v1", "Namespace"))
    secrets = {item["metadata"]["name"]: item for item in view.objects("v1", "Secret", gateway.namespace)}
    for key, name, entries in wanted:
        path = f"{tls.where}.{key}"
        secret = secrets.get(name)
        if secret is None:
            message = f"There is no such Secret in the namespace {gateway.namespace}, where the gateway looks for it."
            remedy = (
                f"Make it, once the namespace is there. Until then, connections to port {listener.port} fail:\n"
                f"kubectl --namespace {gateway.namespace} create secret tls {name} --cert=FILE --key=FILE"
            )
            yield Diagnostic("MSH413", path, name, message, remedy=remedy, severity="error" if exists else "warning")
            continue
        data = cast("Mapping[str, str]", secret.get("data") or {})
        lacking = [entry for entry in entries if not data.get(entry)]
        if lacking:
            message = f"The Secret has no {' and no '.join(lacking)}."
            yield Diagnostic("MSH413", path, name, message, " and ".join(entries))
        elif key == "secret":
            if gateway.api == "gateway-api" and secret.get("type") != "kubernetes.io/tls":
                message = f"The Secret is of the type {secret.get('type')}."
                yield Diagnostic("MSH413", path, name, message, "kubernetes.io/tls")
            certificate = base64.b64decode(data["tls.crt"])
            for part, fault in check_pair(certificate, base64.b64decode(data["tls.key"])):
                entry = "tls.crt" if part == "certificate" else "tls.key"
                yield Diagnostic("MSH413", path, name, f"Its {entry} {fault}.", "a certificate and its private key")
            yield from check_certificate(certificate, listener.hosts, now, path)


def _check_class(gateway: Gateway, view: ClusterView) -> Iterator[Diagnostic]:
    """Check the GatewayClass of another controller. istiod makes its own."""
    if gateway.api != "gateway-api" or gateway.class_name in {kind.gateway_class for kind in MESHES.values()}:
        return
    classes = {item["metadata"]["name"]: item for item in view.objects(GATEWAY_API, "GatewayClass")}
    path, found = f"{gateway.where}.class", classes.get(gateway.class_name)
    if found is None:
        message = "There is no such GatewayClass on the cluster."
        allowed = f"one of {', '.join(sorted(classes))}" if classes else "the cluster has none"
        yield Diagnostic("MSH418", path, gateway.class_name, message, allowed)
    elif (condition := _condition(found, "Accepted")).get("status") == "False":
        message = f"Its controller does not accept it: {condition.get('message', '')}".rstrip(".") + "."
        yield Diagnostic("MSH418", path, gateway.class_name, message)


def _condition(item: Manifest, kind: str) -> Mapping[str, Any]:
    status = cast("Mapping[str, Any]", item.get("status") or {})
    conditions = cast("list[Mapping[str, Any]]", status.get("conditions") or [])
    return next((one for one in conditions if one.get("type") == kind), dict[str, Any]())


def _check_claims(
    gateway: Gateway, hosts: Sequence[str], view: ClusterView, own: Container[str]
) -> Iterator[Diagnostic]:
    """Find routes of others for the same hosts at the gateway, and Gateways of others on the same pods."""
    by_istio = gateway.api == "istio"
    kind = ("networking.istio.io/v1", "VirtualService") if by_istio else (GATEWAY_API, "HTTPRoute")
    for item in view.objects(*kind) if hosts else ():
        if owner_of(item["metadata"]) in own:
            continue
        claimed = _hosts_at(item, gateway)
        for host in hosts:
            if host in claimed:
                metadata = item["metadata"]
                where = f"{kind[1]}/{metadata['namespace']}/{metadata['name']}"
                message = f"{where} takes requests for {'every host' if host == EVERY_HOST else host} too."
                yield Diagnostic("MSH416", gateway.where, host, message, "one owner for a host at a gateway")
    pods = {"istio": gateway.name.removeprefix("istio-"), "app": gateway.name}
    for item in view.objects("networking.istio.io/v1", "Gateway") if by_istio and gateway.listeners else ():
        spec, metadata = cast("dict[str, Any]", item.get("spec") or {}), item["metadata"]
        selector = cast("dict[str, str]", spec.get("selector") or {})
        if owner_of(metadata) in own or not selector.items() <= pods.items():
            continue
        ports = {server["port"]["number"] for server in cast("list[dict[str, Any]]", spec.get("servers") or [])}
        for listener in gateway.listeners:
            if listener.port in ports:
                message = f"Gateway/{metadata['namespace']}/{metadata['name']} has this port of the same pods."
                yield Diagnostic("MSH420", f"{listener.where}.port", listener.port, message)


def _hosts_at(item: Manifest, gateway: Gateway) -> list[str]:
    """Return the hosts that a route takes at a gateway."""
    spec, namespace = cast("dict[str, Any]", item.get("spec") or {}), item["metadata"].get("namespace", "")
    if gateway.api == "istio":
        named = (gateway.name, f"{gateway.namespace}/{gateway.name}", f"./{gateway.name}")
        at_gateway = namespace == gateway.namespace and any(name in named for name in spec.get("gateways") or ())
        return list(spec.get("hosts") or ()) if at_gateway else []
    parents = cast("list[dict[str, Any]]", spec.get("parentRefs") or [])
    at_gateway = any(
        parent.get("kind", "Gateway") == "Gateway"
        and parent["name"] == gateway.name
        and (parent.get("namespace") or namespace) == gateway.namespace
        for parent in parents
    )
    return list(spec.get("hostnames") or (EVERY_HOST,)) if at_gateway else []


def _check_address(gateway: Gateway, view: ClusterView) -> Iterator[Diagnostic]:
    """Warn of a gateway that was deployed and has no address."""
    if gateway.service:
        live = [
            one
            for one in view.objects("v1", "Service", gateway.namespace)
            if one["metadata"]["name"] == gateway.service
        ]
        waiting = [one for one in live if one["spec"].get("type") == "LoadBalancer" and not addresses(one)]
        what = f"Service {gateway.service}"
    else:
        live = view.objects(GATEWAY_API, "Gateway", gateway.namespace) if gateway.api == "gateway-api" else ()
        waiting = [one for one in live if one["metadata"]["name"] == gateway.name and not addresses(one)]
        what = f"Gateway {gateway.name}"
    for _ in waiting:
        message = f"The {what} in the namespace {gateway.namespace} has no address."
        yield Diagnostic("MSH417", gateway.where, None, message, severity="warning")


def addresses(live: Manifest) -> list[str]:
    """Return the addresses of a Service of the type LoadBalancer, or of a Gateway of the Gateway API."""
    status = cast("dict[str, Any]", live.get("status") or {})
    balancer = cast("dict[str, Any]", status.get("loadBalancer") or {})
    ingress = cast("list[dict[str, str]]", balancer.get("ingress") or [])
    listed = cast("list[dict[str, str]]", status.get("addresses") or [])
    return [entry.get("ip") or entry.get("hostname", "") for entry in ingress] + [entry["value"] for entry in listed]


def address(gateway: Gateway, cluster: Cluster) -> str | None:
    """Return the address that a deployed gateway has, None without one; say so in the log of the run."""
    kind, name = (("v1", "Service"), gateway.service) if gateway.service else ((GATEWAY_API, "Gateway"), gateway.name)
    try:
        cluster.forget_kinds()
        live = cluster.objects(*kind, gateway.namespace)
    except ClusterError as error:
        pulumi.log.warn(f"The address of the gateway {gateway.name} is not known: {error.brief}")
        return None
    found = next((item for item in live if item["metadata"]["name"] == name), None)
    listed = addresses(found) if found else []
    if not listed and (kind[1] == "Gateway" or (found and found["spec"].get("type") == "LoadBalancer")):
        pulumi.log.warn(f"MSH417: The {kind[1]} {name} in the namespace {gateway.namespace} has no address yet.")
    return listed[0] if listed else None


def output(planned: GatewaysPlan, address_of: Callable[[Gateway], str | None] | None = None) -> dict[str, Any]:
    """Return the stack output `gateways`.

    Args:
        planned: The gateways.
        address_of: Returns the address of a deployed gateway; before deployment there is none.
    """
    return {
        gateway.name: _output(gateway, planned.hosts.get(gateway.name, ()), address_of(gateway) if address_of else None)
        for gateway in planned.gateways
    }


def _output(gateway: Gateway, hosts: Iterable[str], address: str | None) -> dict[str, Any]:
    listed = list(hosts)
    # Where every host is taken, the address itself will do.
    called = {host: host if host != EVERY_HOST else address or host for host in listed}
    urls = [url(listener, called[host]) for host in listed for listener in gateway.serving(host)]
    shown: dict[str, Any] = {
        "namespace": gateway.namespace,
        "address": address,
        "api": gateway.api,
        "hosts": listed,
        "listeners": [
            {"port": one.port, "protocol": one.protocol, "hosts": list(one.hosts), "redirect": one.redirect}
            for one in gateway.listeners
        ],
        "urls": [address for address in dict.fromkeys(urls) if address],
    }
    if gateway.service:
        # Ports below 1024 of the own machine are not for everybody.
        ports = " ".join(f"{_local(one.port)}:{one.port}" for one in gateway.listeners)
        forward = f"kubectl --namespace {gateway.namespace} port-forward service/{gateway.service}"
        shown |= {"service": gateway.service, "open": {"command": f"{forward} {ports}".rstrip()}}
    return shown


def _local(port: int) -> int:
    return port + 8000 if port < 1024 else port  # noqa: PLR2004 -- ports that only root may open
