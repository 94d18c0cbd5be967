"""What the objects of a policy share: names, phases, selectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ....manifests import Manifest, manifest
from ....traffic.model import Port, Service
from ..protocols import reading

SECURITY_API, NETWORKING_API = "security.istio.io/v1", "networking.istio.io/v1"
DRY_RUN = "istio.io/dry-run"
"""Annotation of an AuthorizationPolicy that is counted and never enforced."""
FIRST, OPENS, CLOSES, LOOSENS = 0, 1, 4, 5
"""Phases: what others need, and denials, which cut nothing that is allowed; what opens a Service to its callers alone;
what closes a namespace; what takes plain callers, once rules say which."""
EVERYWHERE = "default"
"""Name of the object that holds for a whole namespace: istioctl and Kiali look for it."""


def service_name(service: Service, part: str = "") -> str:
    """Return the name of an object about the pods of a Service.

    The name of a Service has no dot, so a part never makes it that of another Service, nor of a namespace's object.
    """
    if not part and service.name == EVERYWHERE:
        part = "service"
    return f"{service.name}.{part}" if part else service.name


def policy_object(
    kind: str, service: Service, part: str, spec: Manifest, annotations: Mapping[str, str] | None = None
) -> Manifest:
    """Write an object of security.istio.io about the pods of a Service."""
    whole = {"selector": {"matchLabels": dict(service.selector)}, **spec}
    return manifest(SECURITY_API, kind, service_name(service, part), service.namespace, whole, annotations=annotations)


def workload_ports(service: Service, *, http: bool, port: Port | None = None) -> list[Port]:
    """Return the ports that a rule is about, one for each port of the pods.

    Args:
        service: The Service.
        http: Whether the rule reads HTTP: Istio drops such a rule, or its condition, on a port that speaks TCP.
        port: The port that it names; None for all.
    """
    ports = (port,) if port else service.ports
    kept = [one for one in ports if not (http and reading(one).kind == "connections")]
    return list({one.container: one for one in kept}.values())


def may_share_pods(one: Service, other: Service) -> bool:
    """Return True unless the selectors of two Services exclude each other. Without a selector, nothing is known."""
    if one.namespace != other.namespace:
        return False
    labels: dict[str, Any] = dict(one.selector)
    return all(labels.get(key, value) == value for key, value in other.selector)


def section(value: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a mapping inside of a mapping, {} if it is not there."""
    found: dict[str, Any] | None = value.get(name)
    return found or {}


def entries(value: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the mappings of a list inside of a mapping, [] if it is not there. A null entry is {}."""
    found: list[dict[str, Any] | None] | None = value.get(name)
    return [one or {} for one in found or ()]


def texts(value: Mapping[str, Any], name: str) -> list[str]:
    """Return a list of texts inside of a mapping, [] if it is not there."""
    found: list[object] | None = value.get(name)
    return [str(one) for one in found or ()]
