"""Gateways of a stack: planned from the settings, checked against the cluster, and what the outputs say of them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from components.diagnostics import Diagnostic
from components.diagnostics.validation import join
from components.gateways.checks import check_gateway
from components.gateways.model import Gateway, url
from components.manifests import Manifest
from components.meshes import MESHES
from components.traffic import Compilation
from stacks.settings import Settings

KEY = "meshup:gateways"
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
    gateways = [
        chosen.gateway(name, namespace, kind.gateway_apis, kind.gateway_class, join(KEY, name))
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
    if not settings.section(kind.settings).install:
        message = "The mesh is another stack's, and meshup makes gateways with a mesh of its own only."
        yield Diagnostic("MSH407", gateway.where, None, message, f"meshup:{mesh}.install: true")


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


def output(planned: GatewaysPlan) -> dict[str, Any]:
    """Return what the stack output `gateways` says before deployment: all but the address."""
    return {gateway.name: _output(gateway, planned.hosts.get(gateway.name, ())) for gateway in planned.gateways}


def _output(gateway: Gateway, hosts: Iterable[str]) -> dict[str, Any]:
    listed = list(hosts)
    urls = [url(listener, host) for host in listed for listener in gateway.serving(host)]
    shown: dict[str, Any] = {
        "namespace": gateway.namespace,
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
