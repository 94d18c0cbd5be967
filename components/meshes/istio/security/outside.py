"""Decide a call of a host outside of the cluster by Sidecar and ServiceEntry, as the sidecar of the caller does. Pure.

Istio 1.30: the Sidecar of a namespace says whether the sidecar lets through what the registry does not know
(`outboundTrafficPolicy`; pilot/pkg/networking/core, listener and route of `block_all`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ....manifests import Manifest, object_ref
from ....security.plane import AccessRequest, Verdict
from ....security.world import World
from .naming import entries, section, texts

_BLOCKED = 502
"""Status of an HTTP request to an unknown host; a connection is closed."""


def outside_verdict(objects: Sequence[Manifest], world: World, request: AccessRequest) -> Verdict:
    """Decide the call. Its host is the name of the Service."""
    if request.caller is None:
        return Verdict(True, reason="The caller has no sidecar.")
    home = request.caller.namespace
    sidecar = _sidecar_of(objects, home) or _sidecar_of(objects, world.control_plane)
    spec = section(sidecar or {}, "spec")
    if sidecar is None or section(spec, "outboundTrafficPolicy").get("mode") != "REGISTRY_ONLY":
        return Verdict(True, reason=f"No Sidecar of {home} closes what the registry does not know.")
    closes = str(object_ref(sidecar))
    known = [host for part in entries(spec, "egress") for host in texts(part, "hosts")] or ["*/*"]
    for item in objects:
        if item["kind"] == "ServiceEntry" and _opens(item, home, known, request):
            return Verdict(True, object=str(object_ref(item)), reason="The ServiceEntry has the host and the port.")
    reason = f"The namespace {home} calls only what the registry knows, and no ServiceEntry has the host and the port."
    return Verdict(False, _BLOCKED if request.http else None, object=closes, reason=reason)


def _sidecar_of(objects: Sequence[Manifest], namespace: str) -> Manifest | None:
    """Return the Sidecar for all pods of a namespace."""
    return next(
        (
            item
            for item in objects
            if item["kind"] == "Sidecar"
            and item["metadata"]["namespace"] == namespace
            and not section(section(item, "spec"), "workloadSelector")
        ),
        None,
    )


def _opens(item: Manifest, home: str, known: Sequence[str], request: AccessRequest) -> bool:
    """Return True if a ServiceEntry has the host, and the sidecars of a namespace know it."""
    spec = section(item, "spec")
    namespace = item["metadata"]["namespace"]
    exported = {namespace if one == "." else one for one in texts(spec, "exportTo") or ["*"]}
    return (
        bool({home, "*"} & exported)
        and any(
            _has(host, request.service.name) and _is_known(host, namespace, home, known)
            for host in texts(spec, "hosts")
        )
        and any(port.get("number") == request.port.number for port in entries(spec, "ports"))
    )


def _has(pattern: str, host: str) -> bool:
    return host.endswith(pattern[1:]) if pattern.startswith("*") else host == pattern


def _is_known(host: str, namespace: str, home: str, known: Sequence[str]) -> bool:
    """Return True if `egress.hosts` of a Sidecar, each `NAMESPACE/HOST`, have a host of a namespace."""
    parts = [one.partition("/") for one in known]
    return any(
        (where in ("*", namespace) or (where == "." and namespace == home)) and (name == "*" or _has(name, host))
        for where, _, name in parts
    )
