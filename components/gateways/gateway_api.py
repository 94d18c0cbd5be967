"""Write gateways as objects of the Gateway API (gateway.networking.k8s.io/v1, v1.5.1), for any controller. Pure."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping, Sequence

from ..manifests import Manifest, manifest
from .model import EVERY_HOST, Gateway, Listener, covers

GROUP = "gateway.networking.k8s.io"
API_VERSION = f"{GROUP}/v1"
MOST_ANNOTATIONS = 8
"""Gateway API v1.5.1: annotations of `infrastructure`."""
MOST_LISTENERS = 64
MOST_PARENTS = 32
"""Gateway API v1.5.1: listeners of a Gateway, each with one host, and parents of a route."""
_PROTOCOLS = {"http": "HTTP", "https": "HTTPS", "tls": "TLS"}


def sections(listener: Listener) -> list[tuple[str, str]]:
    """Return name and host of the listeners of a Gateway object that a listener becomes: each has one host."""
    return [
        (listener.name if number == 1 else f"{listener.name}-host{number}", host)
        for number, host in enumerate(listener.hosts, 1)
    ]


def parents(gateway: Gateway, listener: Listener, hosts: Iterable[str] = (EVERY_HOST,)) -> list[Manifest]:
    """Return the references to the listeners of a Gateway object that a listener becomes, for some hosts."""
    listed = list(hosts)
    return [
        {
            "group": GROUP,
            "kind": "Gateway",
            "name": gateway.name,
            "namespace": gateway.namespace,
            "sectionName": section,
        }
        for section, own in sections(listener)
        if any(covers(own, host) or covers(host, own) for host in listed)
    ]


def gateway_objects(
    gateway: Gateway,
    namespaces: Sequence[str],
    *,
    addresses: Sequence[str] = (),
    annotations: Mapping[str, str] | None = None,
    parameters: Manifest | None = None,
) -> Iterator[Manifest]:
    """Write a Gateway, its parameters and its redirects.

    Args:
        gateway: The gateway.
        namespaces: The namespaces whose routes it takes.
        addresses: What its Service is asked to have.
        annotations: Of what its controller makes: pods and Service.
        parameters: A ConfigMap that its controller lays over what it makes.
    """
    if not gateway.listeners:
        return
    listeners = [item for listener in gateway.listeners for item in _listeners(gateway, listener, namespaces)]
    spec: Manifest = {"gatewayClassName": gateway.class_name, "listeners": listeners}
    if addresses:
        spec["addresses"] = [
            {"type": "IPAddress" if is_ip_address(value) else "Hostname", "value": value} for value in addresses
        ]
    infrastructure: Manifest = {"annotations": dict(annotations)} if annotations else {}
    if parameters:
        yield parameters
        infrastructure["parametersRef"] = {"group": "", "kind": "ConfigMap", "name": parameters["metadata"]["name"]}
    if infrastructure:
        spec["infrastructure"] = infrastructure
    authorities = {listener.port: listener.tls.client_ca for listener in gateway.listeners if listener.tls}
    mutual = [_authority(port, secret) for port, secret in authorities.items() if secret]
    if mutual:
        spec["tls"] = {"frontend": {"default": {}, "perPort": mutual}}
    yield manifest(API_VERSION, "Gateway", gateway.name, gateway.namespace, spec)
    for listener in gateway.listeners:
        if listener.redirect:
            away = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 301}}
            rules: Manifest = {"parentRefs": parents(gateway, listener), "rules": [{"filters": [away]}]}
            yield manifest(
                API_VERSION, "HTTPRoute", f"{gateway.name}-{listener.name}-redirect", gateway.namespace, rules
            )


def certificates(gateway: Gateway) -> Iterator[Manifest]:
    """Write the certificates that cert-manager gets (cert-manager.io/v1)."""
    for listener in gateway.listeners:
        if listener.tls and listener.tls.issuer:
            issuer = listener.tls.issuer
            spec: Manifest = {
                "secretName": listener.tls.secret,
                "dnsNames": list(listener.hosts),
                "issuerRef": {"group": "cert-manager.io", "kind": issuer.kind, "name": issuer.name},
            }
            yield manifest("cert-manager.io/v1", "Certificate", listener.tls.secret, gateway.namespace, spec)


def _listeners(gateway: Gateway, listener: Listener, namespaces: Sequence[str]) -> Iterator[Manifest]:
    for section, host in sections(listener):
        made: Manifest = {"name": section, "port": listener.port, "protocol": _PROTOCOLS[listener.protocol]}
        if host != EVERY_HOST:
            made["hostname"] = host
        if listener.tls:
            secret = {"group": "", "kind": "Secret", "name": listener.tls.secret}
            made["tls"] = {"mode": "Terminate", "certificateRefs": [secret]}
        elif listener.protocol == "tls":
            made["tls"] = {"mode": "Passthrough"}
        if listener.redirect or not set(namespaces) - {gateway.namespace}:
            made["allowedRoutes"] = {"namespaces": {"from": "Same"}}
        else:
            # The label is set by the API server (Kubernetes 1.22), so that no namespace can give it to itself.
            named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": sorted(namespaces)}
            selector = {"matchExpressions": [named]}
            made["allowedRoutes"] = {"namespaces": {"from": "Selector", "selector": selector}}
        yield made


def _authority(port: int, secret: str) -> Manifest:
    references = [{"group": "", "kind": "Secret", "name": secret}]
    return {"port": port, "tls": {"validation": {"caCertificateRefs": references}}}


def is_ip_address(value: str) -> bool:
    """Return whether a text is an IPv4 or IPv6 address."""
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
