"""What the next `up` would newly deny or open, from the objects on the cluster and those of the plan. Pure.

Both are judged by `SecurityPlane.verdict`, so that objects of somebody else count as they do on the cluster.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

from components.diagnostics import Diagnostic
from components.manifests import Manifest, object_ref
from components.security.evaluate import operation_takes, smallest_rule
from components.security.model import Account, Mode
from components.security.paths import PathPattern
from components.security.plane import AccessRequest, SecurityPlane
from components.security.world import Call, World
from components.traffic import Port, Service
from stacks.security import PATH, Secured

MOST_VERDICTS = 4_000
"""Requests that are decided, each before and after. Beyond, only known calls are, not every pair. Among Istio's
policies of 100 Services a verdict took 0.4 ms, on two cores that were busy."""
MOST_REQUESTS = 8
"""Kinds of requests that are tried at a port of a Service."""
MOST_NAMED = 12
"""Ports with requests that a report names, of those that are denied and of those that are opened."""


@dataclass(frozen=True)
class Rules:
    """What decides requests at one time.

    Attributes:
        objects: The objects, with apiVersion and kind.
        mode: Mutual TLS of the whole mesh.
    """

    objects: Sequence[Manifest]
    mode: Mode


class Ask(NamedTuple):
    """A request to one port, whoever makes it."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}" if self.method else "a connection"


@dataclass(frozen=True)
class Change:
    """Requests of a caller that get another answer than before.

    Attributes:
        caller: The caller; None for callers outside of the mesh.
        service: The Service that is called.
        port: Its port.
        asks: The requests.
        allowed: Whether they are allowed now.
        called: Whether the caller is known to make one of them.
    """

    caller: Account | None
    service: Service
    port: Port
    asks: tuple[Ask, ...]
    allowed: bool
    called: bool = False


def after(planned: Iterable[Manifest], live: Iterable[Manifest], is_ours: Callable[[Manifest], bool]) -> list[Manifest]:
    """Return the objects that will be there: those of the plan, and those of others.

    An object that is there keeps its age, by which meshes choose between two of a kind.

    Args:
        planned: The objects of the plan.
        live: The objects on the cluster, with apiVersion and kind.
        is_ours: Whether an object goes unless it is planned.
    """
    there = {object_ref(item): item for item in live}
    made = {object_ref(item): _aged(item, there.get(object_ref(item))) for item in planned}
    kept = [item for ref, item in there.items() if ref not in made and not is_ours(item)]
    return [*made.values(), *kept]


def _aged(item: Manifest, live: Manifest | None) -> Manifest:
    if live is None or "creationTimestamp" not in live["metadata"]:
        return item
    return {**item, "metadata": {**item["metadata"], "creationTimestamp": live["metadata"]["creationTimestamp"]}}


def changes(
    plane: SecurityPlane, secured: Secured, before: Rules, then: Rules, services: Sequence[Service]
) -> tuple[list[Change], bool]:
    """Return the requests that get another answer.

    Args:
        plane: The mesh.
        secured: The policy of the plan, whose rules say which requests are worth to be tried, with the callers, and
            the calls that they make.
        before: What decides now.
        then: What will decide.
        services: The Services that are there.

    Returns:
        The changes, and whether every pair of a caller and a port was tried; else only known calls were.
    """
    world = secured.world
    if before.mode == then.mode:
        places = _changed(before.objects, then.objects)
        # What stands in the namespace of the control plane, or in none, may be for every namespace.
        if not places & {"", world.control_plane}:
            services = [one for one in services if one.namespace in places]
    callers, entrances = _callers(world), {*world.gateways.values(), None}
    ports = [(service, port, _asks(secured, service, port)) for service in services for port in service.ports]
    complete = len(callers) * sum(len(asks) for _, _, asks in ports) <= MOST_VERDICTS

    def allows(rules: Rules, request: AccessRequest) -> bool:
        return plane.verdict(rules.objects, world, request, rules.mode).allowed

    found: list[Change] = []
    for service, port, asks in ports:
        calls = _calls(world, service, port)
        of_users, lost = calls.get(None, frozenset[Ask]()), set[Ask]()
        changed: dict[tuple[Account | None, bool], list[Ask]] = {}
        for ask in asks:
            asking = [one for one in callers if complete or ask in calls.get(None if one in entrances else one, ())]
            requests = {caller: _request(service, port, caller, ask) for caller in asking}
            was, will = ({one for one in asking if allows(rules, requests[one])} for rules in (before, then))
            for caller in asking:
                if (caller in was) != (caller in will):
                    changed.setdefault((caller, caller in will), []).append(ask)
            # Users come in by any gateway, or without one.
            if ask in of_users and was & entrances and not will & entrances:
                lost.add(ask)
        for (caller, is_allowed), several in changed.items():
            known = lost if caller in entrances else calls.get(caller, frozenset[Ask]())
            called = not is_allowed and not known.isdisjoint(several)
            # A known call comes first: the rule that is proposed opens it.
            asked = (*(ask for ask in several if ask in known), *(ask for ask in several if ask not in known))
            found.append(Change(caller, service, port, asked, is_allowed, called))
    return found, complete


def interrupted(found: Iterable[Change], between: Iterable[Change]) -> list[Change]:
    """Return what is denied for a while and allowed before and after.

    Args:
        found: What a run changes from its beginning to its end.
        between: What it has changed in the middle.
    """
    denied = {_key(one): set(one.asks) for one in found if not one.allowed}
    return [
        replace(one, asks=asks)
        for one in between
        if not one.allowed and (asks := tuple(ask for ask in one.asks if ask not in denied.get(_key(one), ())))
    ]


def _key(change: Change) -> tuple[Account | None, str, int]:
    return change.caller, change.service.host, change.port.number


def _changed(before: Iterable[Manifest], then: Iterable[Manifest]) -> set[str]:
    """Return the namespaces whose objects are not there as they will be, but for what the API server adds."""
    live, wanted = ({object_ref(item): item for item in items} for items in (before, then))
    return {
        ref.name if ref.kind == "Namespace" else ref.namespace
        for ref in live.keys() | wanted.keys()
        if ref not in live or ref not in wanted or not _holds(live[ref], wanted[ref])
    }


def _holds(live: Any, wanted: Any) -> bool:
    """Return True if a value has all that is wanted of it. A field that it has besides is a default."""
    if isinstance(wanted, Mapping) and isinstance(live, Mapping):
        fields, held = cast("Mapping[str, Any]", wanted), cast("Mapping[str, Any]", live)
        return all(key in held and _holds(held[key], value) for key, value in fields.items())
    if isinstance(wanted, list) and isinstance(live, list):
        items, others = cast("list[Any]", wanted), cast("list[Any]", live)
        return len(items) == len(others) and all(map(_holds, others, items))
    return bool(live == wanted)


def _callers(world: World) -> list[Account | None]:
    meshed = [one.identity for one in world.workloads if one.meshed]
    gateways = [account for account in world.gateways.values() if account]
    return [*dict.fromkeys([*meshed, *gateways]), None]


def _calls(world: World, service: Service, port: Port) -> dict[Account | None, frozenset[Ask]]:
    """Return the calls of a port that are known, by caller; None are users."""
    found: dict[Account | None, frozenset[Ask]] = {}
    for call in world.calls:
        if (call.namespace, call.service, call.port) == (service.namespace, service.name, port.number):
            found[call.caller] = found.get(call.caller, frozenset()) | {_ask(call)}
    return found


def _ask(call: Call) -> Ask:
    return Ask(call.method, call.example.partition("?")[0] if call.method else "")


def _asks(secured: Secured, service: Service, port: Port) -> list[Ask]:
    """Return requests to a port of which each may be decided in another way."""
    asks = [ask for several in _calls(secured.world, service, port).values() for ask in sorted(several)]
    for rule in secured.policy.rules_of(service):
        for operation in rule.operations:
            known = any(operation_takes(operation, _request(service, port, None, ask)) for ask in asks)
            if operation.port in (None, port) and operation.reads_http and not known:
                path = _example(operation.paths[0]) if operation.paths else "/"
                asks.append(Ask(operation.methods[0] if operation.methods else "GET", path))
    reading = secured.world.readings.get((service.namespace, service.name, port.number))
    is_connection = reading is not None and reading.kind == "connections"
    return list(dict.fromkeys(asks or [Ask("", "") if is_connection else Ask("GET", "/")]))[:MOST_REQUESTS]


def _example(pattern: PathPattern) -> str:
    return "/" + "/".join("x" if part is None else part for part in pattern.segments)


def _request(service: Service, port: Port, caller: Account | None, ask: Ask) -> AccessRequest:
    if not ask.method:
        return AccessRequest(service, port, caller, http=False)
    return AccessRequest(service, port, caller, method=ask.method, path=ask.path, grpc=port.grpc)


def report(found: Sequence[Change], world: World, *, complete: bool) -> list[Diagnostic]:
    """Say what callers will meet; a warning if a known call will be denied.

    Args:
        found: What `changes` returned.
        world: The callers.
        complete: The same.
    """
    denied, opened = ([one for one in found if one.allowed is allowed] for allowed in (False, True))
    diagnostics: list[Diagnostic] = []
    if lost := [one for one in denied if one.called]:
        change = lost[0]
        rule = smallest_rule(_request(change.service, change.port, change.caller, change.asks[0]), world)
        message = f"This run denies calls that the applications make: {'; '.join(_lines('', lost))}."
        remedy = f"Allow them under {PATH}.allow, such as:\n{json.dumps(rule)}"
        diagnostics.append(Diagnostic("MSH571", PATH, None, message, "", remedy, severity="warning"))
    if found or not complete:
        counts = [f"{word} {len(some)}" for word, some in (("denies", denied), ("lets in", opened)) if some]
        does = " and ".join(counts) or "changes nothing"
        message = f"Of the known callers of a port, this run {does}, by the objects that are there now."
        if not complete:
            message = (
                f"Of the calls that are known, this run {does}. There are too many pairs of callers and Services to "
                "look at each."
            )
        lines = [*_lines("denied: ", denied), *_lines("opened: ", opened)]
        remedy = "Nothing needs to be done if that is meant" + (":" if lines else ".")
        diagnostics.append(Diagnostic("MSH570", PATH, None, message, "", "\n".join([remedy, *lines]), severity="info"))
    return diagnostics


def report_interrupted(found: Sequence[Change]) -> list[Diagnostic]:
    """Refuse a run that denies for a while what it allows before and after.

    Args:
        found: What `interrupted` returned.
    """
    if not found:
        return []
    message = (
        "Mutual TLS of the whole mesh changes before its exceptions are there, so that this run denies for a while "
        f"what it allows before and after: {'; '.join(_lines('', found))}."
    )
    remedy = f"Bring up the exceptions first: leave {PATH}.mtls.mode as it is in one run, and change it in the next."
    return [Diagnostic("MSH579", f"{PATH}.mtls", None, message, "", remedy)]


def _lines(title: str, found: Sequence[Change]) -> list[str]:
    """Return changes in lines, one for each port and its requests."""
    groups: dict[tuple[str, str], list[str]] = {}
    for one in found:
        target = f"{one.service.name}.{one.service.namespace}:{one.port.number}"
        groups.setdefault((target, ", ".join(map(str, one.asks))), []).append(_caller(one))
    lines = [f"{title}{target} ({what}) from {', '.join(callers)}" for (target, what), callers in groups.items()]
    more = [f"{title}{len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else []
    return [*lines[:MOST_NAMED], *more]


def _caller(change: Change) -> str:
    if change.caller is None:
        return "outside of the mesh"
    same = change.caller.namespace == change.service.namespace
    return change.caller.name if same else str(change.caller)


def live_objects(
    plane: SecurityPlane,
    listed: Callable[[str, str], Iterable[Manifest]],
    further: Iterable[tuple[str, str]] = (),
) -> Iterator[Manifest]:
    """Return the objects of a cluster by which a mesh decides. Items of a list lack apiVersion and kind.

    Args:
        plane: The mesh.
        listed: Lists the objects of a kind.
        further: apiVersion and kind of others that are wanted too.
    """
    for api_version, kind in dict.fromkeys((*plane.kinds, *further)):
        for item in listed(api_version, kind):
            yield {**item, "apiVersion": api_version, "kind": kind}
