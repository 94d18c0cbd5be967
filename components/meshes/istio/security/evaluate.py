"""Decide a request by PeerAuthentications, RequestAuthentications and AuthorizationPolicies alone, as Istio 1.30 does.

The order is Envoy's: mutual TLS, the token, what denies, what allows. Sources: pilot/pkg/model (authentication.go,
authorization.go, policyattachment.go), pilot/pkg/security.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ....manifests import Manifest, object_ref
from ....security.model import Mode
from ....security.plane import AccessRequest, Verdict
from ....security.world import Workload, World
from ..protocols import reading
from ..proxies import ENVOY_1_38
from .conditions import Seen, rule_matches
from .naming import DRY_RUN, entries, section
from .outside import outside_verdict
from .tokens import Reading, is_preflight, read_token

PINNED = ENVOY_1_38
OPEN_PORTS = (15020, 15021, 15090)
"""Ports of a sidecar that no policy reaches: probes and metrics, readiness, its own metrics."""
_HTTP_PORT = 80
DENIED = "RBAC: access denied"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_GRPC_STATUS = {401: 16, 403: 7}
"""Status of gRPC for one of HTTP (Envoy, source/common/grpc/status.cc)."""
_MODES: Mapping[str, Mode] = {"STRICT": "strict", "PERMISSIVE": "permissive", "DISABLE": "disable"}
Spec = Mapping[str, Any]


def verdict(objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
    """Decide a request. Of several workloads behind the Service, the first one that refuses it decides.

    A Service without a namespace is a host outside of the cluster.
    """
    service = request.service
    if not service.namespace:
        return outside_verdict(objects, world, request)
    selected = Workload(service.name, service.namespace, "Service", "", service.selector)
    verdicts = [_Receiver(objects, world, one, mode).decide(request) for one in world.behind(service) or [selected]]
    return next((one for one in verdicts if not one.allowed), verdicts[0])


class _Receiver:
    """A workload with the objects that hold for it."""

    def __init__(self, objects: Sequence[Manifest], world: World, workload: Workload, mode: Mode) -> None:
        self._world = world
        self._workload = workload
        self._labels = dict(workload.labels)
        self._mode: Mode = mode
        self._peers = [one for one in _by_age(objects) if one["kind"] == "PeerAuthentication"]
        self._tokens = [one for one in objects if one["kind"] == "RequestAuthentication" and self._selects(one)]
        self._policies = [one for one in objects if one["kind"] == "AuthorizationPolicy" and self._selects(one)]

    def decide(self, request: AccessRequest) -> Verdict:
        port = request.port.container
        free = self._free(request, port)
        if free:
            return Verdict(True, reason=free)
        mode, by = self._mode_of(port)
        if mode == "strict" and request.caller is None:
            reason = "The caller has no identity, and the port takes only mutual TLS: the connection is closed."
            return Verdict(False, object=by, reason=reason)
        foreign = request.trust_domain not in ("", self._world.trust_domain)
        if mode != "disable" and request.caller is not None and foreign:
            reason = f"No sidecar of the mesh takes a certificate of {request.trust_domain}: the connection is closed."
            return Verdict(False, reason=reason)
        kind = self._kind(request)
        if kind == "requests" and not request.http:
            return Verdict(False, 400, reason="The port takes HTTP only.")
        seen = self._seen(request, mode, http=request.http and kind != "connections")
        if seen.http and "%00" in request.path:
            return Verdict(False, 400, "", _grpc(request, 400), reason="Envoy takes no path with %00.")
        return self._authorize(request, seen)

    def _kind(self, request: AccessRequest) -> str:
        """Return what Envoy reads at the port. At one in no Service, it looks."""
        known = any(port.container == request.port.container for port in request.service.ports)
        return reading(request.port).kind if known else "detected"

    def _free(self, request: AccessRequest, port: int) -> str:
        """Return why no policy reaches the request, "" if one may."""
        if port in OPEN_PORTS:
            return "The port is the sidecar's own, and no policy reaches it."
        if not self._workload.meshed:
            return f"The pods of {self._workload.name} have no sidecar, so no policy holds for them."
        if self._workload.bypasses(port):
            return f"An annotation keeps port {port} away from the sidecar, so no policy holds for it."
        probed = any(
            one.port == port and (one.kind != "http" or one.path == request.path) for one in self._workload.probes
        )
        if request.probe and probed and not self._workload.direct_probes:
            return "Istio turns probes to port 15020, which asks the application past the policies."
        return ""

    def _selects(self, item: Manifest) -> bool:
        """Return True if a policy holds for the workload. One with targetRefs never does: these are for gateways."""
        spec = section(item, "spec")
        return (
            item["metadata"]["namespace"] in (self._workload.namespace, self._world.control_plane)
            and not (spec.get("targetRef") or spec.get("targetRefs"))
            and _labels(spec).items() <= self._labels.items()
        )

    def _mode_of(self, port: int) -> tuple[Mode, str]:
        """Return the mode of mutual TLS at a port, and the object that sets it: port, workload, namespace, mesh."""
        own, root = self._workload.namespace, self._world.control_plane
        mode: Mode = self._mode
        by = ""
        wide = [one for one in self._peers if not _labels(section(one, "spec"))]
        narrow = [one for one in self._peers if one not in wide and own != root and self._selects(one)]
        by_reach = (
            [one for one in wide if root and one["metadata"]["namespace"] == root],
            [one for one in wide if own != root and one["metadata"]["namespace"] == own],
            [one for one in narrow if one["metadata"]["namespace"] == own],
        )
        for level, items in enumerate(by_reach):
            spec = section(items[0], "spec") if items else {}
            ports = section(spec, "portLevelMtls") if level == len(by_reach) - 1 else {}
            by_number = {str(number): section(ports, number) for number in ports}
            for setting in (section(spec, "mtls"), section(by_number, str(port))):
                word = str(setting.get("mode") or "UNSET")
                if word != "UNSET":
                    mode = _MODES[word]
                    by = str(object_ref(items[0]))
        return mode, by

    def _seen(self, request: AccessRequest, mode: Mode, *, http: bool) -> Seen:
        domain = self._world.trust_domain
        caller = None if mode == "disable" else request.caller
        identity = f"spiffe://{domain}/ns/{caller.namespace}/sa/{caller.name}" if caller else ""
        seen = Seen(request.port.container, http, identity, request.address, request.address)
        if not http:
            return seen
        headers: dict[str, list[str]] = {}
        for name, value in request.headers:
            headers.setdefault(name, []).append(value)
        # The authority of HTTP on its own port has none.
        port = "" if request.port.number == _HTTP_PORT else f":{request.port.number}"
        return replace(
            seen,
            remote=_last_address(",".join(headers.get("x-forwarded-for", ()))) or request.address,
            method=request.verb,
            path=PINNED.path(request.path),
            authority=request.called + port,
            headers=headers,
        )

    def _authorize(self, request: AccessRequest, seen: Seen) -> Verdict:
        custom = _first(self._of("CUSTOM"), self._test(seen, allow=False))
        providers = {_provider(one) for one in self._of("CUSTOM")}
        if custom and len(providers) > 1:
            names = ", ".join(sorted(providers))
            reason = f"Istio asks one external authorizer for a pod, and denies where there are several: {names}."
            return self._closed(request, seen, custom.item, custom.rule, reason)
        asks = f" External authorizer '{_provider(custom.item)}' is asked first." if custom else ""
        token = read_token(self._tokens, request) if seen.http else Reading()
        if token.fault:
            where = f"jwtRules[{token.rule}]"
            return _refused(request, (token.status, token.fault), token.policy, where, f"{token.fault}.{asks}")
        seen = replace(seen, claims=token.claims)
        denied = _first(self._of("DENY"), self._test(seen, allow=False))
        if denied:
            reason = f"A rule that denies takes it.{asks}"
            return self._closed(request, seen, denied.item, denied.rule, reason)
        allows, counted = self._of("ALLOW"), self._dry_denials(seen)
        if not allows:
            reason = f"No AuthorizationPolicy that allows selects the pods, so everything is allowed.{asks}"
            return Verdict(True, reason=reason, audited=(*counted, *self._dry_closures(seen)))
        allowed = _first(allows, self._test(seen, allow=True))
        if allowed:
            reason = f"A rule that allows takes it.{asks}"
            return Verdict(True, None, "", None, str(object_ref(allowed.item)), allowed.rule, reason, counted)
        by = next((one for one in allows if entries(section(one, "spec"), "rules")), allows[0])
        preflight = " A preflight of CORS has no token." if seen.http and is_preflight(request) else ""
        reason = f"No rule of the policies that allow takes it: {_names(allows)}.{preflight}{asks}"
        return self._closed(request, seen, by, "", reason)

    def _of(self, action: str, *, dry_run: bool = False) -> list[Manifest]:
        return [
            one
            for one in self._policies
            if (section(one, "spec").get("action") or "ALLOW") == action and _is_dry_run(one) == dry_run
        ]

    def _test(self, seen: Seen, *, allow: bool) -> Callable[[Spec, str], bool]:
        domains = (self._world.trust_domain,)
        return lambda rule, namespace: rule_matches(rule, seen, allow=allow, namespace=namespace, domains=domains)

    def _dry_denials(self, seen: Seen) -> tuple[str, ...]:
        """Return the policies in dry-run that deny the request."""
        test = self._test(seen, allow=False)
        return tuple(str(object_ref(one)) for one in self._of("DENY", dry_run=True) if _first([one], test))

    def _dry_closures(self, seen: Seen) -> tuple[str, ...]:
        """Return the policies in dry-run that would close the pods to the request, if nothing closes them yet."""
        allows = self._of("ALLOW", dry_run=True)
        taken = _first(allows, self._test(seen, allow=True))
        return () if taken else tuple(str(object_ref(one)) for one in allows)

    def _closed(self, request: AccessRequest, seen: Seen, item: Manifest, rule: str, reason: str) -> Verdict:
        if seen.http:
            return _refused(request, (403, DENIED), item, rule, reason)
        return Verdict(False, object=str(object_ref(item)), rule=rule, reason=f"{reason} The connection is closed.")


@dataclass(frozen=True, slots=True)
class _Taken:
    item: Manifest
    rule: str


def _first(policies: Iterable[Manifest], test: Callable[[Spec, str], bool]) -> _Taken | None:
    """Return the first rule that takes a request."""
    for item in policies:
        for number, rule in enumerate(entries(section(item, "spec"), "rules")):
            if test(rule, item["metadata"]["namespace"]):
                return _Taken(item, f"rules[{number}]")
    return None


def _refused(request: AccessRequest, answer: tuple[int, str], item: Manifest, rule: str, reason: str) -> Verdict:
    """Return an answer of Envoy: one of gRPC has the status of HTTP 200, and no body."""
    status, body = answer
    code = _grpc(request, status)
    if code is not None:
        return Verdict(False, 200, "", code, str(object_ref(item)), rule, reason)
    return Verdict(False, status, body, None, str(object_ref(item)), rule, reason)


def _grpc(request: AccessRequest, status: int) -> int | None:
    return _GRPC_STATUS.get(status, 13) if request.grpc else None


def _labels(spec: Spec) -> Mapping[str, str]:
    return section(section(spec, "selector"), "matchLabels")


def _is_dry_run(item: Manifest) -> bool:
    return str(section(item["metadata"], "annotations").get(DRY_RUN)) in _TRUE


def _provider(item: Manifest) -> str:
    return str(section(section(item, "spec"), "provider").get("name") or "")


def _names(policies: Iterable[Manifest]) -> str:
    return ", ".join(str(object_ref(one)) for one in policies)


def _by_age(objects: Iterable[Manifest]) -> list[Manifest]:
    """Return objects as Istio sorts them: the oldest first, one that is not there yet last, then by name."""

    def age(item: Manifest) -> tuple[str, str, str]:
        metadata = item["metadata"]
        return str(metadata.get("creationTimestamp") or "~"), metadata["name"], metadata["namespace"]

    return sorted(objects, key=age)


def _last_address(forwarded: str) -> str:
    """Return the last address of X-Forwarded-For: without trusted proxies, the one that Envoy goes by."""
    last = forwarded.rpartition(",")[2].strip()
    try:
        return str(ipaddress.ip_address(last))
    except ValueError:
        return ""
