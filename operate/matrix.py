"""`meshup access`: all callers and all Services of a stack, and what each may do; as plain data and as tables.

A cell comes from concrete requests: one for each operation that a rule of the Service names, one that no rule names,
and those of the known call graph. Each is decided by the configuration and by the objects (operate/access.py).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Literal, cast

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from components.manifests import Manifest
from components.security.evaluate import decide, operation_takes
from components.security.model import Account, Claims, Network, Operation, Policy
from components.security.model import Rule as AccessRule
from components.security.paths import PathPattern
from components.security.plane import AccessRequest
from components.security.world import Call, World
from components.traffic.model import Port, Service, TextMatch
from operate.access import SCHEMA_VERSION, Answer, Security, protocol, tokens_of
from operate.callers import OTHER, PLAIN, Caller, accounts, foreign, gateway, known_account, named

METHODS = ("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "CONNECT", "TRACE")
"""The methods of the Gateway API (v1.5.1, HTTPMethod): Linkerd matches no others."""
_SEGMENT = "meshup-any"
"""A segment of a path, a header or a host that no rule names."""
_BESIDE = "not by a rule"
"""Where a mesh lets somebody in that policies do not: probes, and callers without an identity where it only audits."""
REGEX = "RegularExpression"
"""The type of a match whose value is no path (Gateway API v1.5.1, PathMatchType)."""
Extent = Literal["all", "some", "none"]


@dataclass(frozen=True, slots=True)
class Sample:
    """A request that stands for an operation.

    Attributes:
        request: The request, without a caller.
        text: The operation, for people; "" for what no rule names.
        rule: The rule that names it; None if none does.
        issuer: The issuer of its token, "" for none.
        from_objects: Whether only an object of the cluster names it.
    """

    request: AccessRequest
    text: str = ""
    rule: AccessRule | None = None
    issuer: str = ""
    from_objects: bool = False


@dataclass(frozen=True, slots=True)
class KnownCall:
    """A call that the application makes, and what becomes of it."""

    call: Call
    text: str
    allowed: bool


@dataclass(frozen=True, slots=True)
class Cell:
    """What a caller may do at a port of a Service.

    Attributes:
        caller: The caller.
        service: The Service.
        port: The port of it.
        extent: Whether everything is allowed, some of it, or nothing.
        operations: What is allowed, if not everything.
        refused: What is denied of what would be allowed otherwise: by rules of `deny`.
        calls: The calls that the application makes there.
        unused: Whether it is open, the application is known, and makes no call there.
        audited: What would deny it if it were enforced.
        answers: Every request that was decided.
    """

    caller: Caller
    service: Service
    port: Port
    extent: Extent
    operations: tuple[str, ...]
    refused: tuple[str, ...]
    calls: tuple[KnownCall, ...]
    unused: bool
    audited: tuple[str, ...]
    answers: tuple[Answer, ...]

    @property
    def missing(self) -> tuple[KnownCall, ...]:
        """Calls that the application makes, and that are denied."""
        return tuple(known for known in self.calls if not known.allowed)


@dataclass(frozen=True, slots=True)
class Matrix:
    """Who may call whom.

    Attributes:
        mesh: Name of the mesh.
        callers: The rows.
        columns: The Services with their ports.
        cells: By caller and column, in that order.
        cluster: Whether it is of the objects of the cluster.
    """

    mesh: str
    callers: tuple[Caller, ...]
    columns: tuple[tuple[Service, Port], ...]
    cells: tuple[Cell, ...]
    cluster: bool = False

    @property
    def answers(self) -> list[Answer]:
        """Every request that was decided."""
        return [answer for cell in self.cells for answer in cell.answers]


# -- callers and samples


def callers(policy: Policy, world: World) -> list[Caller]:
    """Return everyone whose calls are decided: gateways, accounts, those that only rules name, and strangers."""
    found = [gateway(name, world) for name in world.gateways]
    of_gateways = {caller.account for caller in found}
    found += [known_account(one, world) for one in sorted(accounts(policy, world)) if one not in of_gateways]
    found += [
        foreign(account, domain)
        for account, domain in sorted({(account, domain) for _, account, domain in named(policy)})
        if domain not in ("", world.trust_domain)
    ]
    identities = [source.identity for rule in policy.rules for source in rule.sources if source.identity]
    domains = {one.trust_domain for one in identities if one.kind == "trust-domain"} - {"", world.trust_domain}
    found += [
        Caller(f"any of {domain}", "other", OTHER.account, domain, note=f"any identity of the trust domain {domain}")
        for domain in sorted(domains)
    ]
    spaces = {one.namespace for one in identities if one.kind == "namespace"}
    found += [
        Caller(f"any of {space}/", "other", Account(space, "-"), note=f"any other account of the namespace {space}")
        for space in sorted(spaces)
    ]
    found += [OTHER, PLAIN]
    networks = {network for rule in policy.rules for source in rule.sources for network in source.networks}
    return found + [
        replace(PLAIN, name=f"plain {text}", address=address, note=f"a caller without an identity, from {address}")
        for text, address in sorted((network.cidr, _address(network)) for network in networks)
        if address
    ]


def _address(network: Network) -> str:
    """Return an address of a network, "" if it has none that is not excluded: one beside each excluded part."""
    whole = ipaddress.ip_network(network.cidr)
    parts = [ipaddress.ip_network(part) for part in network.excluded]
    first, last = int(whole.network_address), int(whole.broadcast_address)
    tried = [first]
    for part in parts:
        tried += [int(part.network_address) - 1, int(part.broadcast_address) + 1]
    for number in tried:
        address = whole[number - first] if first <= number <= last else None
        if address is not None and not any(address in part for part in parts):
            return str(address)
    return ""


def samples(security: Security, service: Service, port: Port) -> list[Sample]:
    """Return the requests that stand for what can be asked of a port of a Service. What no rule names is the first."""
    read = protocol(security.world, service, port)
    base = AccessRequest(service, port, http=read != "tcp", grpc=read == "grpc")
    rules = [rule for rule in _rules_at(security.policy, service, port) if not rule.audit]
    unnamed = _unnamed(base, [operation for rule in rules for operation in rule.operations])
    tokens = _tokens(security.policy, service) if base.http else []
    found = [Sample(unnamed)]
    found += [
        Sample(replace(unnamed, bearer="valid", claims=claims), "all", issuer=issuer) for issuer, claims in tokens
    ]
    for rule in rules:
        if base.http or not rule.claims:
            found += [
                one
                for operation in rule.operations or (Operation(),)
                for one in _of_operation(unnamed, rule, operation, tokens)
            ]
    of_objects = _of_objects(unnamed, security.live or ())
    return [*found, *(sample for sample in of_objects if not security.is_open_probe(sample.request))]


def _rules_at(policy: Policy, service: Service, port: Port) -> list[AccessRule]:
    """Return the rules about a port of the pods of a Service, whichever of their Services they name."""
    same = [one for one in policy.same_pods(service) if any(own.container == port.container for own in one.ports)]
    return [rule for one in same for rule in policy.rules_of(one)]


def _of_operation(
    base: AccessRequest, rule: AccessRule, operation: Operation, tokens: Sequence[tuple[str, dict[str, Any]]]
) -> Iterator[Sample]:
    if operation.port is not None and operation.port.container != base.port.container:
        return
    if operation.reads_http and not base.http:
        return
    for one in _requests(base, operation):
        text = _text(one, operation)
        if not rule.claims:
            yield Sample(one, text, rule)
        for issuer, claims in tokens:
            claimed = {**claims, **_claims(rule.claims)}
            yield Sample(replace(one, bearer="valid", claims=claimed), text, rule, issuer)


def _of_objects(base: AccessRequest, objects: Sequence[Manifest]) -> list[Sample]:
    """Return requests for the methods and paths that objects of the cluster name: rules of others may do so too."""
    if not base.http or base.grpc:
        return []
    found: dict[tuple[str, str], None] = {}
    for item in objects:
        if item["metadata"].get("namespace") == base.service.namespace:
            found |= dict.fromkeys(_operations_in(item.get("spec")))
    named = (
        (replace(base, method=method or base.method, path=path or base.path), f"{method} {path}".strip())
        for method, path in sorted(found)
    )
    return [Sample(request, text, from_objects=True) for request, text in named]


def _operations_in(part: object) -> Iterator[tuple[str, str]]:
    """Yield the methods and paths of operations (Istio) and matches (Gateway API) somewhere in an object."""
    if isinstance(part, list):
        for one in cast("list[object]", part):
            yield from _operations_in(one)
    if not isinstance(part, dict):
        return
    fields = cast("dict[str, Any]", part)
    for one in fields.values():
        yield from _operations_in(one)
    path: Any = fields.get("path")
    value = cast("dict[str, Any]", path) if isinstance(path, dict) else {}
    methods = [*_strings(fields.get("methods")), *_strings([fields.get("method")])]
    paths = _strings(fields.get("paths")) or _strings([value.get("value")] if value.get("type") != REGEX else [])
    for method, written in product(methods or [""], paths or [""]):
        if method or written:
            yield method, _concrete(written, open_end=value.get("type") == "PathPrefix")


def _strings(value: object) -> list[str]:
    return [one for one in cast("list[object]", value) if isinstance(one, str)] if isinstance(value, list) else []


def _concrete(path: str, *, open_end: bool) -> str:
    """Return a path that a pattern of Istio, or a prefix of the Gateway API, takes."""
    below = f"{_SEGMENT}/{_SEGMENT}"
    made = path.replace("{**}", below).replace("{*}", _SEGMENT).replace("*", _SEGMENT)
    return f"{made.rstrip('/')}/{below}" if open_end else made


def _unnamed(base: AccessRequest, operations: Sequence[Operation]) -> AccessRequest:
    if not base.http:
        return base
    used = {method for operation in operations for method in operation.methods}
    method = next((method for method in METHODS if method not in used), "PROPFIND")
    return replace(base, method=method, path=f"/{_SEGMENT}/{_SEGMENT}")


def _requests(base: AccessRequest, operation: Operation) -> Iterator[AccessRequest]:
    """Yield a request for each method and path of an operation."""
    headers = tuple((name, _SEGMENT if one.kind == "present" else one.value) for name, one in operation.headers)
    host = _host(operation.hosts[0]) if operation.hosts else ""
    paths = [_witness(pattern) for pattern in operation.paths]
    for method, path in product(operation.methods or (base.method,), paths or (base.path,)):
        yield replace(base, method=method, path=path, headers=headers, host=host)


def _witness(pattern: PathPattern) -> str:
    """Return a path of a pattern that no narrower one has."""
    segments = [_SEGMENT if part is None else part for part in pattern.segments]
    return "/" + "/".join([*segments, *([_SEGMENT, _SEGMENT] if pattern.open else [])])


def _host(pattern: str) -> str:
    return f"{_SEGMENT}{pattern[1:]}" if pattern.startswith("*.") else pattern


def _text(request: AccessRequest, operation: Operation) -> str:
    """Return the part of an operation that a request stands for."""
    if not operation.reads_http:
        return "all"
    path = next((pattern.text for pattern in operation.paths if pattern.matches(request.path)), "")
    call = operation.grpc or request.grpc
    parts = [request.method] if operation.methods and not call else []
    parts += [path] if path else []
    parts += [f"{name}: {_match(one)}" for name, one in operation.headers]
    parts += [f"host {' or '.join(operation.hosts)}"] if operation.hosts else []
    return " ".join(parts) or "all"


def _match(match: TextMatch) -> str:
    return {"exact": match.value, "prefix": f"{match.value}*"}.get(match.kind, "*")


def _tokens(policy: Policy, service: Service) -> list[tuple[str, dict[str, Any]]]:
    """Return the claims of a token of each issuer that a Service reads."""
    found: list[tuple[str, dict[str, Any]]] = []
    for jwt in tokens_of(policy, service):
        claims: dict[str, Any] = {"iss": jwt.issuer, "sub": _SEGMENT}
        claims |= {"aud": jwt.audiences[0]} if jwt.audiences else {}
        found.append((jwt.issuer, {**claims, **_claims(jwt.claims)}))
    return found


def _claims(conditions: Claims) -> dict[str, Any]:
    """Return claims that meet conditions."""
    made: dict[str, Any] = {}
    for path, values in conditions:
        inner = made
        for name in path[:-1]:
            inner = inner.setdefault(name, {})
        inner[path[-1]] = values[0]
    return made


# -- cells


def build(security: Security, services: Iterable[Service] = ()) -> Matrix:
    """Decide what every caller may do at every port.

    Args:
        security: What decides.
        services: The Services; empty for all that are known.
    """
    rows = callers(security.policy, security.world)
    wanted = sorted(services or security.world.services, key=lambda one: (one.namespace, one.name))
    columns = [(service, port) for service in wanted for port in service.ports]
    # To read all rules and objects for each request would take time that grows with the cube of the Services.
    about = {service.host: security.about(service) for service, _ in columns}
    asked = {(service.host, port.number): samples(about[service.host], service, port) for service, port in columns}
    cells = [
        _cell(about[service.host], caller, service, port, asked[service.host, port.number])
        for caller in rows
        for service, port in columns
    ]
    return Matrix(security.plane.name, tuple(rows), tuple(columns), tuple(cells), security.live is not None)


def _cell(security: Security, caller: Caller, service: Service, port: Port, asked: Sequence[Sample]) -> Cell:
    answers = [(sample, security.answer(caller.applied(sample.request))) for sample in asked]
    allowed = [answer.verdict.allowed for _, answer in answers]
    extent: Extent = "all" if all(allowed) else "some" if any(allowed) else "none"
    place = (service.name, service.namespace, port.number)
    known = [
        call
        for call in security.world.calls
        if (call.service, call.namespace, call.port) == place and _is_from(call, caller, security, service)
    ]
    made = [(call, security.answer(caller.applied(_request(call, service, port, security)))) for call in known]
    unneeded = not known and caller.kind in ("gateway", "account") and _is_mapped(security.world, service)
    decided = [*(answer for _, answer in answers), *(answer for _, answer in made)]
    return Cell(
        caller=caller,
        service=service,
        port=port,
        extent=extent,
        operations=_given(security, caller, answers) if extent == "some" else (),
        refused=_refused(security, caller, answers) if extent == "some" else (),
        calls=tuple(KnownCall(call, _call_text(call), answer.verdict.allowed) for call, answer in made),
        unused=unneeded and extent != "none",
        audited=tuple(dict.fromkeys(name for one in decided for name in (*one.policy.audited, *one.verdict.audited))),
        answers=tuple(decided),
    )


Answers = Sequence[tuple[Sample, Answer]]


def _given(security: Security, caller: Caller, answers: Answers) -> tuple[str, ...]:
    """Return the operations that a caller may do, where it may not do all."""
    if answers[0][1].verdict.allowed:
        return ("all else",)
    given: dict[str, None] = {}
    rules: list[AccessRule] = []
    for sample, answer in answers[1:]:
        own = security.live is not None or answer.deviation or _is_by_own_rule(security, caller, sample)
        if not answer.verdict.allowed or not own or (sample.from_objects and _is_said(sample, rules)):
            continue
        # What is allowed without a token is not said again with one; those without stand before.
        text = f"{sample.text}, with a token of {sample.issuer}" if sample.issuer else sample.text
        text += f" ({_BESIDE})" if answer.deviation and answer.verdict.allowed else ""
        given |= {} if sample.text in given else {text: None}
        rules += [sample.rule] if sample.rule else []
    return tuple(given)


def _is_said(sample: Sample, rules: Sequence[AccessRule]) -> bool:
    """Return True if an operation of rules takes the request of a sample."""
    return any(operation_takes(one, sample.request) for rule in rules for one in rule.operations or (Operation(),))


def _is_by_own_rule(security: Security, caller: Caller, sample: Sample) -> bool:
    """Return True if the rule of a sample takes it alone: else another one does, and says nothing of the operation."""
    if sample.rule is None:
        return True
    alone = replace(security.policy, rules=(sample.rule,))
    return sample.rule.effect == "allow" and decide(alone, security.world, caller.applied(sample.request)).allowed


def _refused(security: Security, caller: Caller, answers: Answers) -> tuple[str, ...]:
    """Return the operations that rules of `deny` take out of what a caller may do."""
    allows = tuple(rule for rule in security.policy.rules if rule.effect == "allow")
    rest = replace(security.policy, rules=allows)
    open_to_all = answers[0][1].verdict.allowed

    def is_taken_out(sample: Sample) -> bool:
        if open_to_all or security.live is not None:
            return open_to_all
        return decide(rest, security.world, caller.applied(sample.request)).allowed

    denied = [sample for sample, answer in answers if not answer.verdict.allowed]
    return tuple(dict.fromkeys(sample.text for sample in denied if is_taken_out(sample)))


def _is_from(call: Call, caller: Caller, security: Security, service: Service) -> bool:
    """Return True if a caller makes a call. Users come by the gateways that open the Service."""
    if call.caller is None:
        return (service.host, caller.gateway) in security.exposed
    return caller.kind in ("account", "gateway") and call.caller == caller.account and not caller.trust_domain


def _is_mapped(world: World, service: Service) -> bool:
    """Return True if the calls of the application that a Service belongs to are known."""
    return any(call.namespace == service.namespace for call in world.calls)


def _request(call: Call, service: Service, port: Port, security: Security) -> AccessRequest:
    read = protocol(security.world, service, port)
    return AccessRequest(
        service,
        port,
        http=read != "tcp" and bool(call.method),
        grpc=read == "grpc",
        method=call.method or "GET",
        path=call.example.partition("?")[0],
    )


def _call_text(call: Call) -> str:
    return f"{call.method} {call.example}" if call.method else f"port {call.port}"


# -- output


def as_json(matrix: Matrix, diagnostics: Sequence[dict[str, str]] = ()) -> dict[str, Any]:
    """Return the matrix as plain data with camelCase keys; the same input gives the same data."""
    return {
        "schemaVersion": SCHEMA_VERSION,
        "mesh": matrix.mesh,
        "decidedBy": "cluster" if matrix.cluster else "plan",
        "callers": [
            {
                "name": caller.name,
                "kind": caller.kind,
                "account": str(caller.account) if caller.account and caller.kind in ("account", "gateway") else None,
                "trustDomain": caller.trust_domain or None,
                "address": caller.address or None,
                "note": caller.note or None,
            }
            for caller in matrix.callers
        ],
        "services": [
            {"name": service.name, "namespace": service.namespace, "port": port.number}
            for service, port in matrix.columns
        ],
        "access": [
            {
                "caller": cell.caller.name,
                "service": cell.service.name,
                "namespace": cell.service.namespace,
                "port": cell.port.number,
                "access": cell.extent,
                "operations": list(cell.operations),
                "except": list(cell.refused),
                "calls": [
                    {
                        "call": known.text,
                        "allowed": known.allowed,
                        "optional": known.call.optional,
                        "note": known.call.note or None,
                    }
                    for known in cell.calls
                ],
                "unused": cell.unused,
                "audited": list(cell.audited),
            }
            for cell in matrix.cells
        ],
        "diagnostics": list(diagnostics),
    }


DENIED_CALL = "!"
UNUSED = "~"
_LEGEND = (
    ("all", "every request"),
    ("-", "none"),
    ("otherwise", "only what is listed"),
    (DENIED_CALL, "the application makes this call, and it is denied"),
    (UNUSED, "open, and no known call of the application needs it"),
)
_COLUMN = 18
"""Least width of a column, in characters."""


def show(matrix: Matrix, console: Console) -> None:
    """Print the matrix for people: as many columns side by side as the terminal has room for."""
    by_place = {(cell.caller.name, cell.service.host, cell.port.number): cell for cell in matrix.cells}
    names = max((len(caller.name) for caller in matrix.callers), default=0)
    at_once = max(1, (console.width - names - 4) // (_COLUMN + 3))
    for first in range(0, len(matrix.columns), at_once):
        console.print(_table(matrix, matrix.columns[first : first + at_once], by_place))
    if not matrix.columns:
        console.print(Text("The stack knows no Service."))
        return
    console.print(_legend(matrix))


def _table(
    matrix: Matrix, columns: Sequence[tuple[Service, Port]], by_place: dict[tuple[str, str, int], Cell]
) -> Table:
    table = Table(show_lines=True, pad_edge=False)
    table.add_column("caller", overflow="fold")
    for service, port in columns:
        table.add_column(Text(f"{service.name}\n{service.namespace}:{port.number}"), overflow="fold")
    for caller in matrix.callers:
        row = [by_place[caller.name, service.host, port.number] for service, port in columns]
        table.add_row(Text(caller.name), *map(_shown, row))
    return table


def _shown(cell: Cell) -> Text:
    """Return a cell for people."""
    lines: list[tuple[str, str]] = []
    if cell.extent == "all":
        lines.append(("all", "green"))
    elif cell.extent == "none":
        lines.append(("-", "dim"))
    lines += [(operation, "cyan") for operation in cell.operations]
    lines += [(f"not {operation}", "red") for operation in cell.refused]
    if cell.unused and lines:
        lines[0] = (f"{UNUSED} {lines[0][0]}", "yellow")
    lines += [(f"{DENIED_CALL} {known.text}", "bold red") for known in cell.missing]
    return Text("\n").join(Text(text, style=style) for text, style in lines)


def _legend(matrix: Matrix) -> Group:
    lines = [Text("  ".join(f"{sign}: {meaning};" for sign, meaning in _LEGEND).rstrip(";"), style="dim")]
    lines += [Text(f"{caller.name}: {caller.note}", style="dim") for caller in matrix.callers if caller.note]
    denied = sum(len(cell.missing) for cell in matrix.cells)
    unused = sum(cell.unused for cell in matrix.cells)
    where = "by the objects of the cluster" if matrix.cluster else "by the objects that the stack writes"
    counts = [f"{denied} known {'call is' if denied == 1 else 'calls are'} denied"] if denied else []
    counts += [f"{unused} open {'edge' if unused == 1 else 'edges'} that no known call needs"] if unused else []
    lines.append(Text(f"{matrix.mesh}, {where}" + (f": {', '.join(counts)}." if counts else ".")))
    return Group(*lines)
