"""Check valid routes for contradictions and for features that a target lacks.

`check_route` checks a route alone, `check_routes` all of them together, `check_target` a route on one target.
All are pure and return diagnostics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from ..diagnostics import Diagnostic
from . import patterns
from .capability import FEATURES, SECOND, mesh_only, refused
from .durations import LONGEST_DURATION, duration_text
from .edge import check_exposure, check_exposures
from .model import Egress, Match, Redirect, Rewrite, Route, Rule, TextMatch, Version
from .overlap import EVERY_PATH, Earlier, covers, path_matches, path_of
from .precedence import Inversion, inversions
from .targets import Target
from .witness import request_text

LONGEST_MILLISECONDS = 99_999
"""A duration has five digits at most."""
KEEP_METHOD = (307, 308)
"""Redirects that keep the method of the request (RFC 9110, section 15.4)."""
HTTP_PREFIXES = ("http", "http2", "grpc", "grpc-web")
HTTP_APP_PROTOCOLS = ("http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws")
OPAQUE_PREFIXES = ("https", "tls", "tcp", "udp", "mongo", "redis", "mysql")
"""Istio 1.30: protocols by port name; HTTP rules apply only to the first ones."""


def check_route(route: Route) -> Iterator[Diagnostic]:
    """Check one route for contradictions."""
    yield from _check_service(route)
    yield from _check_reach(route)
    for rule in route.rules:
        yield from _check_retry(rule)
        yield from _check_fault(rule)
        yield from _check_redirect(rule)
        yield from _check_rewrite(rule)
        yield from _check_mirrors(rule)
    yield from _check_affinity(route)
    yield from check_exposure(route)
    if route.rate_limit and not route.service.selector:
        yield Diagnostic(
            "MSH138",
            route.rate_limit.where,
            None,
            f"It is not known which pods the Service '{route.service.name}' selects, so the limit has no place.",
            remedy="Add 'selector' with the labels that the Service selects.",
        )


def _check_service(route: Route) -> Iterator[Diagnostic]:
    port = route.port
    protocol = port.app_protocol or port.name.split("-", 1)[0]
    known = port.app_protocol != "" or protocol in (*HTTP_PREFIXES, *OPAQUE_PREFIXES)
    if route.rules and known and protocol not in HTTP_APP_PROTOCOLS:
        yield Diagnostic(
            "MSH139",
            route.where,
            port.app_protocol or port.name,
            f"Port {port.number} of '{route.service.name}' is not HTTP: rules on requests can't hold for it.",
            "a port whose appProtocol or name says http, http2 or grpc",
            "Name another port, or correct the name of the port (http-...) or its appProtocol.",
        )
    yield from _check_versions(route)


def _check_versions(route: Route) -> Iterator[Diagnostic]:
    service = route.service
    selector = dict(service.selector)
    for version in service.versions:
        for key, value in version.labels:
            if selector.get(key, value) != value:
                yield Diagnostic(
                    "MSH140",
                    route.where,
                    f"{key}={value}",
                    f"Version '{version.name}' wants {key}={value}, but the Service '{service.name}' selects "
                    f"{key}={selector[key]}.",
                    remedy="Let the Service select what its versions have in common.",
                )
    for other, version in _same_pods(service.versions):
        yield Diagnostic(
            "MSH141",
            route.where,
            dict(version.labels),
            f"Versions '{other.name}' and '{version.name}' of '{service.name}' select the same pods.",
            remedy="Give each version a label value that the others do not have.",
        )


def _same_pods(versions: Sequence[Version]) -> Iterator[tuple[Version, Version]]:
    """Yield each version that selects pods of an earlier one, with the first such.

    If one set of labels contains another, both have the rarest label of the smaller one: so few pairs are compared.
    """
    counts = Counter(label for version in versions for label in version.labels)
    by_label: dict[tuple[str, str], list[tuple[int, Version]]] = {}
    by_rarest: dict[tuple[str, str], list[tuple[int, Version]]] = {}
    for number, version in enumerate(versions):
        labels = set(version.labels)
        rarest = min(version.labels, key=counts.__getitem__)
        candidates = [
            *by_label.get(rarest, ()),
            *(other for label in version.labels for other in by_rarest.get(label, ())),
        ]
        patterns.work().take(len(candidates))
        same = [other for other in candidates if labels <= set(other[1].labels) or labels >= set(other[1].labels)]
        if same:
            yield min(same, key=itemgetter(0))[1], version
        for label in version.labels:
            by_label.setdefault(label, []).append((number, version))
        by_rarest.setdefault(rarest, []).append((number, version))


def _check_reach(route: Route) -> Iterator[Diagnostic]:
    """Report rules and matches that are unreachable, because earlier ones match all their requests."""
    earlier: Earlier[Rule] = Earlier()
    for rule in route.rules:
        matches = rule.matches or (Match(where=rule.where),)
        shadows = [earlier.covering(match) for match in matches]
        if all(shadows):
            shadow, covering_rule = shadows[0] or (matches[0], rule)
            reason = "has the same match" if covers(matches[0], shadow) else "takes them all before"
            yield Diagnostic(
                "MSH142",
                rule.where,
                rule.name,
                f"No request reaches the rule '{rule.name}': '{covering_rule.name}' ({covering_rule.where}) {reason}.",
                remedy=f"Put it before '{covering_rule.name}', or remove it.",
            )
        else:
            in_rule: Earlier[Rule] = Earlier()
            for match, shadow in zip(matches, shadows, strict=True):
                covering = shadow or in_rule.covering(match)
                in_rule.add(match, rule)
                if covering:
                    yield Diagnostic(
                        "MSH143",
                        match.where,
                        None,
                        f"The match adds nothing: {covering[0].where or covering[1].where} takes all of its requests.",
                        severity="warning",
                    )
        for match in matches:
            earlier.add(match, rule)


def _check_retry(rule: Rule) -> Iterator[Diagnostic]:
    timeout, retry = rule.timeout, rule.retry
    attempts = retry.attempts if retry else None
    if timeout and timeout.per_try is not None and not attempts:
        yield Diagnostic(
            "MSH144",
            f"{timeout.where}.perTry",
            duration_text(timeout.per_try),
            "Without retries there is one attempt: the timeout of the request is all there is.",
            remedy="Add 'retries', or set 'request' in place of 'perTry'.",
        )
    if not (timeout and timeout.request is not None and retry and attempts):
        return
    if timeout.per_try is None:
        return
    if timeout.per_try > timeout.request:
        yield Diagnostic(
            "MSH145",
            f"{timeout.where}.perTry",
            duration_text(timeout.per_try),
            f"One attempt may take longer than the whole request ({duration_text(timeout.request)}).",
            f"at most {duration_text(timeout.request)}",
        )
    elif timeout.per_try * (attempts + 1) > timeout.request:
        fits = timeout.request // timeout.per_try
        enough = _round_up(timeout.per_try * (attempts + 1))
        yield Diagnostic(
            "MSH146",
            retry.where,
            attempts,
            f"1 + {attempts} attempts of {duration_text(timeout.per_try)} do not fit into "
            f"{duration_text(timeout.request)}: "
            f"when each takes its time, there are {fits}.",
            remedy=f"Set the request timeout to {enough}, or fewer attempts." if enough else "Take fewer attempts.",
            severity="warning",
        )


def _round_up(milliseconds: int) -> str:
    """Return the duration, rounded up to one that the configuration accepts, or ""."""
    if milliseconds > LONGEST_MILLISECONDS:
        milliseconds = -(-milliseconds // SECOND) * SECOND
    return duration_text(milliseconds) if milliseconds <= LONGEST_DURATION else ""


def _check_fault(rule: Rule) -> Iterator[Diagnostic]:
    if not rule.fault:
        return
    for name, policy in (("timeout", rule.timeout), ("retries", rule.retry)):
        if policy:
            yield Diagnostic(
                "MSH147",
                rule.fault.where,
                name,
                f"Istio applies no {name} on a rule that injects faults.",
                remedy=f"Remove '{name}' while the rule injects faults, or inject them at the Service behind it.",
            )


def _check_redirect(rule: Rule) -> Iterator[Diagnostic]:
    if not rule.redirect:
        return
    names = [name for name in ("timeout", "retry", "fault", "mirrors", "rewrite") if getattr(rule, name)]
    if rule.headers and not rule.headers.request.empty:
        names.append("headers.request")
    for name in names:
        yield Diagnostic(
            "MSH148",
            rule.redirect.where,
            name,
            f"A redirect answers the request itself: '{name}' has nothing to act on.",
            remedy="Keep only the redirect in the rule.",
        )


def _check_rewrite(rule: Rule) -> Iterator[Diagnostic]:
    if not (rule.rewrite and rule.rewrite.prefix):
        return
    path = rule.matches[0].path if len(rule.matches) == 1 else None
    # A rule without a match has the prefix '/'.
    if rule.matches and (path is None or path.kind != "prefix"):
        yield _prefix_not_clear(rule, rule.rewrite)


def _prefix_not_clear(rule: Rule, rewrite: Rewrite) -> Diagnostic:
    return Diagnostic(
        "MSH149",
        f"{rewrite.where}.prefix",
        rewrite.prefix,
        f"It is not clear which prefix is replaced: the rule '{rule.name}' must have exactly one match, on a path "
        f"prefix.",
        remedy="Give the rule one match with 'path: {prefix: ...}'.",
    )


def _check_mirrors(rule: Rule) -> Iterator[Diagnostic]:
    if not rule.mirrors:
        return
    live = {backend.destination: backend for backend in rule.backends if backend.weight}
    for mirror in rule.mirrors:
        if mirror.destination in live:
            yield Diagnostic(
                "MSH150",
                mirror.where,
                mirror.destination.label,
                f"'{mirror.destination.label}' gets requests by weight and their copies as well.",
                remedy="Mirror to a version that has no weight in this rule.",
                severity="warning",
            )


def _check_affinity(route: Route) -> Iterator[Diagnostic]:
    session = route.session_affinity
    if not session:
        return
    for rule in route.rules:
        if sum(1 for backend in rule.backends if backend.weight) > 1:
            yield Diagnostic(
                "MSH151",
                session.where,
                rule.name,
                "The hash holds inside one version; which version a request goes to is drawn anew each time.",
                remedy="Send a group of users to a version by a match on a cookie or header.",
                severity="warning",
            )
            return


def check_routes(routes: Sequence[Route]) -> Iterator[Diagnostic]:
    """Check routes for contradictions between them."""
    yield from check_exposures(routes)
    owners: dict[tuple[str, str], Route] = {}
    hosts: dict[tuple[str, str, int], tuple[str, str]] = {}
    ports: dict[tuple[str, int], list[Egress]] = {}
    limited: Limited = {}
    for route in routes:
        if any((route.circuit_breaker, route.load_balancing, route.session_affinity, route.retry_budget)):
            owner = owners.setdefault((route.service.namespace, route.service.name), route)
            if owner is not route:
                yield Diagnostic(
                    "MSH152",
                    route.where,
                    route.key,
                    f"The policies of '{route.service.host}' are declared at {owner.where} too; they belong to "
                    f"the Service, not to a port.",
                    remedy=f"Put all of them into '{owner.key}'.",
                )
        if route.rate_limit:
            yield from _limited_twice(route, limited)
        for egress in route.egress:
            yield from _tcp_beside(egress, ports.setdefault((route.service.namespace, egress.port), []))
            place = (route.service.namespace, egress.host, egress.port)
            protocol, where = hosts.setdefault(place, (egress.protocol, egress.where))
            if protocol != egress.protocol:
                yield Diagnostic(
                    "MSH153",
                    egress.where,
                    egress.protocol,
                    f"{egress.host}:{egress.port} is {protocol} at {where}.",
                    protocol,
                    "Give one protocol for one port of a host.",
                )


Limited = dict[tuple[str, int, tuple[str, str]], list[Route]]


def _limited_twice(route: Route, limited: Limited) -> Iterator[Diagnostic]:
    """Report a second limit for the same port of the same pods; add the route to `limited`, by each label."""
    pods = set(route.service.selector)
    places = [(route.service.namespace, route.port.container, label) for label in route.service.selector]
    others = {other.key: other for place in places for other in limited.get(place, ())}
    for other in others.values():
        if pods <= set(other.service.selector) or set(other.service.selector) <= pods:
            yield Diagnostic(
                "MSH160",
                route.rate_limit.where if route.rate_limit else route.where,
                route.key,
                f"'{other.key}' limits port {route.port.container} of the same pods.",
                remedy=f"Keep the limit of '{other.key}' or this one.",
            )
            break
    for place in places:
        limited.setdefault(place, []).append(route)


def _tcp_beside(egress: Egress, others: list[Egress]) -> Iterator[Diagnostic]:
    """Report a TCP host beside another host on one port of a namespace; add the host to `others`."""
    conflicting = next((o for o in others if o.host != egress.host and "TCP" in (o.protocol, egress.protocol)), None)
    # Two non-TCP hosts are enough: one of them differs from any further host.
    if egress.protocol == "TCP" or len({other.host for other in others}) <= 1:
        others.append(egress)
    if conflicting:
        yield Diagnostic(
            "MSH159",
            egress.where,
            egress.host,
            f"{conflicting.host} ({conflicting.where}) has port {egress.port} in this namespace too. Connections to "
            "one of them would reach the other.",
            "one host on a port, if one of them is TCP",
        )


def check_target(route: Route, target: Target, targets: Sequence[Target]) -> Iterator[Diagnostic]:
    """Report features of a route that a target lacks. `targets` are all targets, for remedies."""
    yield from refused(FEATURES, route, target, targets)
    if target.redirected_again:
        yield from _check_redirects_on(route, target)
    if target.every_path(route) != EVERY_PATH:
        for rule in route.rules:
            if rule.rewrite and rule.rewrite.prefix and not rule.matches:
                yield _prefix_not_clear(rule, rule.rewrite)
    if route.exposure:
        yield from mesh_only(FEATURES, route, target, target.mesh_only)
    yield from check_order(route, target)
    yield from target.plane.check(route)
    yield from target.check(route)


def _check_redirects_on(route: Route, target: Target) -> Iterator[Diagnostic]:
    """Report redirects that lead back to their own rule."""
    earlier: list[Match] = []
    for rule in route.rules:
        redirect, matches = rule.redirect, rule.matches or (Match(),)
        if redirect and _leads_back(redirect, matches, earlier, route):
            yield Diagnostic(
                "MSH164",
                redirect.where,
                redirect.path or None,
                f"The rule '{rule.name}' takes the request for {redirect.path or 'the same address'} too. "
                f"{target.redirected_again}",
                remedy="Redirect elsewhere, or put a rule with backends for that path before it.",
                severity="warning",
            )
        earlier.extend(matches)


def _leads_back(redirect: Redirect, matches: Sequence[Match], earlier: Sequence[Match], route: Route) -> bool:
    """Return True if a client that follows a redirect may match the same rule again."""
    parts = route.service.host.split(".")
    names = {".".join(parts[:length]) for length in (1, 2, 3, len(parts))}
    here = replace(redirect, host="") if redirect.host in names else redirect
    if not here.same_address(route.port.number):
        return False
    # Other methods become GET on the way (RFC 9110, section 15.4), and gRPC clients follow nothing.
    followed = [
        match
        for match in matches
        if not match.grpc_service and (redirect.status in KEEP_METHOD or match.method in ("", "GET", "HEAD"))
    ]
    if not redirect.path:
        return bool(followed)
    new_path = TextMatch("exact", redirect.path)
    again = [replace(match, path=new_path) for match in followed if path_matches(path_of(match), redirect.path)]
    return any(not any(covers(other, match) for other in earlier) for match in again)


def check_order(route: Route, target: Target) -> Iterator[Diagnostic]:
    """Report rules whose order the ranking of a target breaks."""
    known: set[tuple[int, int]] = set()
    for number, ranking in enumerate(target.rankings(route)):
        for inversion in inversions(route, target, ranking):
            rules = (inversion.earlier.index, inversion.later.index)
            if number == 0:
                yield _inversion(inversion, target)
            elif rules not in known:
                yield _version_dependent(inversion, target)
            known.add(rules)


def _inversion(inversion: Inversion, target: Target) -> Diagnostic:
    earlier, later = inversion.earlier.rule, inversion.later.rule
    if inversion.tie:
        return Diagnostic(
            "MSH135",
            later.where,
            later.name,
            f"The rules '{earlier.name}' and '{later.name}' have different policies, so {target.plane.title} keeps "
            f"them in two objects. For `{request_text(inversion.request)}`, which both match, the older object wins, "
            "whichever that is.",
            remedy="Give both the same timeout and retries, or matches that exclude each other.",
        )
    return Diagnostic(
        "MSH134",
        later.where,
        later.name,
        f"{target.title} would prefer '{later.name}' to '{earlier.name}' ({earlier.where}), which stands "
        f"before it, for `{request_text(inversion.request)}`.",
        remedy=f"Put '{later.name}' first if that is meant, or give them matches that exclude each other.",
    )


def _version_dependent(inversion: Inversion, target: Target) -> Diagnostic:
    earlier, later = inversion.earlier.rule, inversion.later.rule
    return Diagnostic(
        "MSH156",
        later.where,
        later.name,
        f"'{earlier.name}' ({earlier.where}) comes first on the pinned {target.plane.title}; other versions would "
        f"prefer '{later.name}' for `{request_text(inversion.request)}`.",
        remedy="Give them matches that exclude each other, such as the same header in both.",
        severity="warning",
    )
