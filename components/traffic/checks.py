"""What is wrong with a route that can be read: contradictions in itself, and what a target can't do.

`check_route` looks at a route alone, `check_routes` at all of them together, `check_target` at a route on one target.
All are pure and return diagnostics.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from operator import itemgetter

from ..diagnostics import Diagnostic
from . import capability, istio, linkerd, patterns
from .capability import (
    FEATURES,
    GRPC_RETRY,
    LINKERD_ROUTE,
    MATRIX,
    QUERY_DROPPED,
    REDIRECTED_AGAIN,
    REMEDIES,
    SECOND,
    SERVICE_PROFILE,
    Target,
)
from .durations import LONGEST_DURATION, duration_text
from .gateway_api import MOST_MATCHES_IN_ALL, MOST_RULES, matches_in_all, route_kind
from .grammar import DNS_LABEL
from .manifests import version_service_name
from .model import Destination, Egress, Match, Redirect, Rewrite, Route, Rule, Service, TextMatch, Version
from .overlap import EVERY_PATH, Earlier, covers, method_of, path_matches, path_of
from .precedence import Inversion, every_path, inversions
from .witness import request_text

LONGEST_MILLISECONDS = 99_999
"""A duration has five digits at most."""
KEEP_METHOD = (307, 308)
"""Redirects that a client follows with the method of its request (RFC 9110, section 15.4)."""
HTTP_PREFIXES = ("http", "http2", "grpc", "grpc-web")
HTTP_APP_PROTOCOLS = ("http", "http2", "grpc", "grpc-web", "kubernetes.io/h2c", "kubernetes.io/ws")
OPAQUE_PREFIXES = ("https", "tls", "tcp", "udp", "mongo", "redis", "mysql")
"""Istio 1.30: protocols of a port by its name; only the first are routed by HTTP rules."""


def check_route(route: Route) -> Iterator[Diagnostic]:
    """The contradictions of one route in itself."""
    yield from _check_service(route)
    yield from _check_reach(route)
    for rule in route.rules:
        yield from _check_retry(rule)
        yield from _check_fault(rule)
        yield from _check_redirect(rule)
        yield from _check_rewrite(rule)
        yield from _check_mirrors(rule)
    yield from _check_affinity(route)
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
    """Each version that selects pods of an earlier one, with the first such.

    Of two sets of labels in each other, both have the rarest label of the smaller one: so few pairs are compared.
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
    """Rules and matches that no request reaches, because earlier ones take all of theirs."""
    taken: Earlier[Rule] = Earlier()
    for rule in route.rules:
        matches = rule.matches or (Match(where=rule.where),)
        shadows = [taken.covering(match) for match in matches]
        if all(shadows):
            shadow, by = shadows[0] or (matches[0], rule)
            reason = "has the same match" if covers(matches[0], shadow) else "takes them all before"
            yield Diagnostic(
                "MSH142",
                rule.where,
                rule.name,
                f"No request reaches the rule '{rule.name}': '{by.name}' ({by.where}) {reason}.",
                remedy=f"Put it before '{by.name}', or remove it.",
            )
        else:
            beside: Earlier[Rule] = Earlier()
            for match, shadow in zip(matches, shadows, strict=True):
                found = shadow or beside.covering(match)
                beside.add(match, rule)
                if found:
                    yield Diagnostic(
                        "MSH143",
                        match.where,
                        None,
                        f"The match adds nothing: {found[0].where or found[1].where} takes all of its requests.",
                        severity="warning",
                    )
        for match in matches:
            taken.add(match, rule)


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
        enough = _written(timeout.per_try * (attempts + 1))
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


def _written(milliseconds: int) -> str:
    """A duration that is as long at least and that the configuration takes, or ""."""
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
    """What is wrong between routes."""
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
    """A second limit for the same port of the same pods; adds the route to those that were met, by each label."""
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
    """A TCP host beside another host on one port of a namespace; adds the host to those that were met."""
    beside = next((o for o in others if o.host != egress.host and "TCP" in (o.protocol, egress.protocol)), None)
    # Of hosts that are not TCP, two are enough: one of them differs from any host that comes.
    if egress.protocol == "TCP" or len({other.host for other in others}) <= 1:
        others.append(egress)
    if beside:
        yield Diagnostic(
            "MSH159",
            egress.where,
            egress.host,
            f"{beside.host} ({beside.where}) has port {egress.port} in this namespace too. Connections to one of them "
            "would reach the other.",
            "one host on a port, if one of them is TCP",
        )


def _tcp_host(egress: Egress) -> Diagnostic:
    return Diagnostic(
        "MSH159",
        egress.where,
        egress.host,
        f"Istio sends every connection on port {egress.port} from this namespace, which no other Service takes, to "
        f"{egress.host}.",
        severity="warning",
    )


_REFUSED = {
    target.name: [(feature, reason) for feature in FEATURES if (reason := MATRIX[feature.name][target.name])]
    for target in capability.TARGETS
}
"""What each target can't do."""


def check_target(route: Route, target: Target) -> Iterator[Diagnostic]:
    """What a target can't do of a route."""
    for feature, reason in _REFUSED[target.name]:
        for where in feature.uses(route):
            others = [t.title for t in capability.TARGETS if not MATRIX[feature.name][t.name]]
            yield Diagnostic(
                "MSH131",
                where,
                feature.title,
                f"{target.title} can't do this. {reason}",
                f"on {', '.join(others)}" if others else "",
                REMEDIES.get(feature.name, "Remove it, or choose a mesh and 'api' that can."),
            )
    yield from _check_redirects_on(route, target)
    if target.limits:
        yield from _check_limits(route, target)
        yield from _check_version_services(route)
        yield from _check_order(route, target)
    if every_path(route, target) != EVERY_PATH:
        for rule in route.rules:
            if rule.rewrite and rule.rewrite.prefix and not rule.matches:
                yield _prefix_not_clear(rule, rule.rewrite)
    if target.mesh == "istio":
        if istio.has_policy(route):
            yield from _check_policies_met(route)
        yield from (_tcp_host(egress) for egress in route.egress if egress.protocol == "TCP")
    if target == LINKERD_ROUTE:
        yield from _check_linkerd(route)
    if target == SERVICE_PROFILE:
        yield from _check_budget(route)
        if route.rules and len(route.service.ports) > 1:
            yield Diagnostic(
                "MSH161",
                route.where,
                route.port.number,
                f"The ServiceProfile holds for all {len(route.service.ports)} ports of '{route.service.name}', not for "
                f"port {route.port.number} alone.",
                severity="warning",
            )


def _check_redirects_on(route: Route, target: Target) -> Iterator[Diagnostic]:
    """What a target does with a redirect that leads back to its own rule, and with the query of one to a path."""
    earlier: list[Match] = []
    for rule in route.rules:
        redirect, matches = rule.redirect, rule.matches or (Match(),)
        if redirect and _leads_back(redirect, matches, earlier, route):
            yield Diagnostic(
                "MSH164",
                redirect.where,
                redirect.path or None,
                f"The rule '{rule.name}' takes the request for {redirect.path or 'the same address'} too. "
                f"{REDIRECTED_AGAIN[target.name]}",
                remedy="Redirect elsewhere, or put a rule with backends for that path before it.",
                severity="warning",
            )
        if redirect and redirect.path and QUERY_DROPPED[target.name]:
            yield Diagnostic(
                "MSH165",
                f"{redirect.where}.path",
                redirect.path,
                f"{target.title} leaves the query of the request out of the new address; Istio keeps it.",
                remedy="Nothing needs to be done if no client sends a query there.",
                severity="warning",
            )
        earlier.extend(matches)


def _leads_back(redirect: Redirect, matches: Sequence[Match], earlier: Sequence[Match], route: Route) -> bool:
    """True if a client that follows a redirect may meet the same rule again."""
    parts = route.service.host.split(".")
    names = {".".join(parts[:length]) for length in (1, 2, 3, len(parts))}
    here = replace(redirect, host="") if redirect.host in names else redirect
    if not here.same_place(route.port.number):
        return False
    # Other methods become GET on the way (RFC 9110, section 15.4), and gRPC clients follow nothing.
    followed = [
        match
        for match in matches
        if not match.grpc_service and (redirect.status in KEEP_METHOD or match.method in ("", "GET", "HEAD"))
    ]
    if not redirect.path:
        return bool(followed)
    there = TextMatch("exact", redirect.path)
    again = [replace(match, path=there) for match in followed if path_matches(path_of(match), redirect.path)]
    return any(not any(covers(other, match) for other in earlier) for match in again)


def _check_budget(route: Route) -> Iterator[Diagnostic]:
    retried = any(rule.retry and rule.retry.attempts is None for rule in route.rules)
    if retried and route.retry_budget is None:
        yield Diagnostic(
            "MSH154",
            route.where,
            None,
            "A ServiceProfile retries within its budget, and no budget is set.",
            remedy="Add 'retryBudget'.",
        )
    if route.retry_budget and not retried:
        yield Diagnostic(
            "MSH158",
            route.retry_budget.where,
            None,
            "The budget limits nothing: Linkerd retries what it is told to, and no rule retries."
            + ("" if route.rules else " Without rules there is no ServiceProfile that could hold it."),
            remedy="Add a rule with 'retries: {conditions: [5xx]}', or remove 'retryBudget'.",
            severity="warning" if route.rules else "error",
        )


def _check_limits(route: Route, target: Target) -> Iterator[Diagnostic]:
    if len(route.rules) <= MOST_RULES and matches_in_all(route.rules) <= MOST_MATCHES_IN_ALL:
        return
    parts = [rules for _, _, rules in linkerd.grouped(route)] if target == LINKERD_ROUTE else [list(route.rules)]
    for rules in parts:
        counted = (("rules", len(rules), MOST_RULES), ("matches", matches_in_all(rules), MOST_MATCHES_IN_ALL))
        for what, count, most in counted:
            if count > most:
                yield Diagnostic(
                    "MSH132",
                    f"{route.where}.rules",
                    count,
                    f"One {route_kind(route, target.mesh)} takes at most {most} {what}.",
                    f"at most {most} {what}",
                    "Join rules that have the same backends into one with several matches, or use api: istio.",
                )


def _check_version_services(route: Route) -> Iterator[Diagnostic]:
    for service in versioned(route):
        if not service.selector:
            yield Diagnostic(
                "MSH138",
                route.where,
                service.name,
                f"It is not known which pods the Service '{service.name}' selects. A Service for each version would "
                "select by the labels of the version alone, in every application of the namespace.",
                remedy="Add 'selector' with the labels that the Service selects.",
            )
        for version in service.versions:
            name = version_service_name(Destination(service, route.port, version))
            if not DNS_LABEL.fullmatch(name) or not name[0].isalpha():
                yield Diagnostic(
                    "MSH133",
                    route.where,
                    name,
                    "The Service of the version can't have this name.",
                    "a DNS label that begins with a letter, at most 63 characters",
                    "Shorten the name of the version.",
                )


def _check_policies_met(route: Route) -> Iterator[Diagnostic]:
    """Istio takes the policies of the Service that a request goes to, not of the one that was called."""
    live = [backend for rule in route.rules for backend in rule.backends if backend.weight]
    elsewhere = [backend for backend in live if backend.destination.service.host != route.service.host]
    if not elsewhere:
        return
    nowhere = len(elsewhere) == len(live) and len(route.service.ports) == 1
    others = {backend.destination.service.name: backend for backend in reversed(elsewhere)}
    for name, backend in others.items():
        yield Diagnostic(
            "MSH157",
            backend.where,
            name,
            f"Istio applies the policies of '{name}' to requests that go there, not those of '{route.service.name}'"
            + (", and all requests go to other Services." if nowhere else "."),
            remedy=f"Declare circuit breaking, load balancing, affinity or retry budget at '{name}'"
            + ("." if nowhere else " too, if it should have them."),
            severity="error" if nowhere else "warning",
        )


def versioned(route: Route) -> list[Service]:
    """The Services of which a route names versions, once each, in order of first use."""
    found: dict[tuple[str, str], Service] = {}
    for rule in route.rules:
        for destination in (*(b.destination for b in rule.backends), *(m.destination for m in rule.mirrors)):
            if destination.version:
                found.setdefault((destination.service.namespace, destination.service.name), destination.service)
    return list(found.values())


def _check_order(route: Route, target: Target) -> Iterator[Diagnostic]:
    inverted = inversions(route, target)
    yield from (_inversion(inversion, target) for inversion in inverted)
    if target == LINKERD_ROUTE and _ranks_methods(route):
        known = {(inversion.earlier.index, inversion.later.index) for inversion in inverted}
        for other in inversions(route, target, other_linkerd=True):
            if (other.earlier.index, other.later.index) not in known:
                yield _version_dependent(other)


def _inversion(inversion: Inversion, target: Target) -> Diagnostic:
    earlier, later = inversion.earlier.rule, inversion.later.rule
    if inversion.tie:
        return Diagnostic(
            "MSH135",
            later.where,
            later.name,
            f"The rules '{earlier.name}' and '{later.name}' have different policies, so Linkerd keeps them in two "
            f"objects. For `{request_text(inversion.request)}`, which both match, the older object wins, whichever "
            "that is.",
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


def _ranks_methods(route: Route) -> bool:
    """True if some matches ask for a method and some for headers or query parameters: what the versions differ in."""
    matches = [match for rule in route.rules for match in rule.matches]
    return any(method_of(match) for match in matches) and any(m.headers or m.cookies or m.query for m in matches)


def _version_dependent(inversion: Inversion) -> Diagnostic:
    earlier, later = inversion.earlier.rule, inversion.later.rule
    return Diagnostic(
        "MSH156",
        later.where,
        later.name,
        f"'{earlier.name}' ({earlier.where}) comes first on the pinned Linkerd; other versions would prefer "
        f"'{later.name}' for `{request_text(inversion.request)}`.",
        remedy="Give them matches that exclude each other, such as the same header in both.",
        severity="warning",
    )


def _check_linkerd(route: Route) -> Iterator[Diagnostic]:
    groups = linkerd.grouped(route)
    if len(groups) > 1:
        names = ", ".join(name for name, _, _ in groups)
        yield Diagnostic(
            "MSH136",
            f"{route.where}.rules",
            None,
            f"Linkerd keeps timeouts and retries for a whole route object: the rules become {len(groups)} objects "
            f"({names}).",
            remedy="Nothing needs to be done.",
            severity="info",
        )
    kind = route_kind(route, "linkerd")
    if kind == "GRPCRoute":
        yield Diagnostic(
            "MSH168",
            f"{route.where}.rules",
            route.port.number,
            f"The rules become a GRPCRoute, because port {route.port.number} is declared to be gRPC. Linkerd then "
            "serves the port as HTTP/2 and takes POST only: other requests get 404, callers with HTTP/1 no answer.",
            remedy="Nothing needs to be done if all callers of the port are gRPC clients.",
            severity="info",
        )
    if route.rules and route.port.app_protocol not in linkerd.APP_PROTOCOLS:
        yield Diagnostic(
            "MSH169",
            route.where,
            route.port.app_protocol,
            f"Linkerd does not know appProtocol '{route.port.app_protocol}'. If the Service '{route.service.name}' has "
            f"it at port {route.port.number}, connections are forwarded as they are, and no rule holds.",
            "in the Service, one of " + ", ".join(name for name in linkerd.APP_PROTOCOLS if name),
            f"Write 'kubernetes.io/h2c' in the Service, or leave appProtocol out and name the port "
            f"'{route.port.app_protocol.rpartition('/')[2]}'.",
            severity="warning",
        )
    for rule in route.rules:
        if not (rule.retry and rule.retry.attempts):
            continue
        grpc = [condition for condition in rule.retried if condition in GRPC_RETRY]
        if grpc and kind == "HTTPRoute":
            yield Diagnostic(
                "MSH137",
                rule.retry.where,
                grpc,
                "Linkerd retries on a gRPC status only in a GRPCRoute, and this route is an HTTPRoute.",
                remedy="Give all rules of the route matches on 'grpc', change no response headers, retry on no HTTP "
                "status"
                + (
                    "."
                    if route.port.grpc
                    else f", and declare that port {route.port.number} serves gRPC only: a GRPCRoute shuts out all "
                    "other callers of the port."
                ),
            )
