"""`meshup explain --from`: whether a caller may call a Service, who decides that, and what opens it; as plain data.

Three parties are asked: the configuration (components/security/evaluate.py), the objects that the stack writes, and
with a cluster the objects that are there. The first two must agree: anything else is a defect of meshup, and said so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import yaml
from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from components.diagnostics import ConfigurationError, Diagnostic
from components.manifests import Manifest
from components.security.evaluate import Decision, decide, smallest_rule
from components.security.model import Jwt, MtlsException, Policy
from components.security.paths import PathPattern, exact, prefix, template
from components.security.plane import AccessRequest, SecurityPlane, Verdict
from components.security.relevant import relevant
from components.security.world import Call, World
from components.traffic import patterns
from components.traffic.evaluate import Request, evaluate
from components.traffic.model import Pairs, Port, Rule, Service
from components.traffic.proxies import Proxy
from components.traffic.targets import Planned
from operate import explain as routing
from operate.callers import OTHER, Caller, Known

SCHEMA_VERSION = 1
"""Of the JSON: raised when a key changes its meaning or goes; new keys do not raise it."""
Explanation = dict[str, Any]
Protocol = Literal["http", "grpc", "tcp"]


@dataclass(frozen=True)
class Security(Known):
    """What decides on requests.

    Attributes:
        plane: The mesh.
        objects: The objects that the stack writes, as far as the mesh decides by them.
        live: Those of the cluster; None if it was not asked.
        routes: The compiled routes of the stack.
        proxy: How the proxies of the mesh's version read requests; None for the pinned one.
    """

    plane: SecurityPlane
    objects: tuple[Manifest, ...]
    live: tuple[Manifest, ...] | None = None
    routes: tuple[Planned, ...] = ()
    proxy: Proxy | None = None

    def about(self, service: Service) -> Security:
        """Return the same for one Service, without the rules, workloads and objects that have no say there."""
        live = None if self.live is None else relevant(self.live, service)
        rules = tuple(rule for one in self.policy.same_pods(service) for rule in self.policy.rules_of(one))
        policy = replace(self.policy, rules=rules)
        world = replace(self.world, workloads=tuple(self.world.behind(service)))
        return replace(self, policy=policy, world=world, objects=relevant(self.objects, service), live=live)

    @property
    def exposed(self) -> set[tuple[str, str]]:
        """The Services that gateways open to callers outside of the cluster: host, and name of the gateway."""
        routes = (plan.route for plan in self.routes)
        return {(route.service.host, route.exposure.gateway.name) for route in routes if route.exposure}

    def answer(self, request: AccessRequest) -> Answer:
        """Decide a request, by everyone who can."""
        mode = self.policy.mode
        planned = self.plane.verdict(self.objects, self.world, request, mode)
        live = None if self.live is None else self.plane.verdict(self.live, self.world, request, mode)
        decision = decide(self.policy, self.world, request)
        return Answer(request, decision, planned, live, self._deviation(request, decision, planned))

    def is_open_probe(self, request: AccessRequest) -> bool:
        """Return True if a request is one that the mesh takes for a probe of the kubelet, whoever sends it."""
        probe = replace(request, probe=True)
        return not self.plane.has_agent and decide(self.policy, self.world, probe).by == "probe"

    def _deviation(self, request: AccessRequest, decision: Decision, planned: Verdict) -> str:
        """Return where a mesh is known to do something else than policies say, "" for nowhere."""
        if decision.allowed == planned.allowed:
            return ""
        title = self.plane.title
        if decision.allowed:
            foreign = request.trust_domain not in ("", self.world.trust_domain)
            return f"{title} closes connections of another trust domain." if foreign and planned.status is None else ""
        if self.is_open_probe(request):
            return f"{title} lets everybody call the path of a probe (MSH564)."
        if decision.by == "mtls" and self.policy.default_of(request.service.namespace) == "audit":
            return f"{title} lets callers without an identity in where it only audits (MSH567)."
        return ""


@dataclass(frozen=True, slots=True)
class Answer:
    """What becomes of a request.

    Attributes:
        request: The request.
        policy: By the configuration.
        planned: By the objects that the stack writes.
        live: By those of the cluster; None if it was not asked.
        deviation: Why the mesh is known to do something else than the configuration says, "" if it does as it says.
    """

    request: AccessRequest
    policy: Decision
    planned: Verdict
    live: Verdict | None = None
    deviation: str = ""

    @property
    def verdict(self) -> Verdict:
        """What happens: on the cluster, if it was asked."""
        return self.planned if self.live is None else self.live

    @property
    def contradicts(self) -> bool:
        """True if the objects do not do what the configuration says."""
        return self.policy.allowed != self.planned.allowed and not self.deviation

    @property
    def differs(self) -> bool:
        """True if the cluster does something else than the stack would."""
        return self.live is not None and self.live.allowed != self.planned.allowed


def protocol(world: World, service: Service, port: Port) -> Protocol:
    """Return how the proxies of the mesh read what arrives at a port. Where they detect it, a request is HTTP."""
    reading = world.readings.get((service.namespace, service.name, port.number))
    return "tcp" if reading and reading.kind == "connections" else "grpc" if port.grpc else "http"


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the command line describes it.

    Attributes:
        method: HTTP method.
        path: The path without the query.
        headers: Names in lower case.
        query: Parameters, for routes.
        source: Labels of the caller in place of those that are known, for routes.
        source_namespace: The same of its namespace.
        host: The host that the caller names, "" for the Service's own.
        claims: The claims of its bearer token; None for no token.
        now: Seconds since 1970.
    """

    method: str = "GET"
    path: str = "/"
    headers: Pairs = ()
    query: Pairs = ()
    source: Pairs = ()
    source_namespace: str = ""
    host: str = ""
    claims: Mapping[str, Any] | None = None
    now: float = 0

    def of(self, service: Service, port: Port, protocol: Protocol) -> AccessRequest:
        """Return the request to a port of a Service."""
        return AccessRequest(
            service,
            port,
            http=protocol != "tcp",
            grpc=protocol == "grpc",
            method=self.method,
            path=self.path,
            headers=self.headers,
            host=self.host,
            bearer="none" if self.claims is None else "valid",
            claims=self.claims or {},
            now=self.now,
        )


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request as a route sends it on.

    Attributes:
        service: The Service whose pods get it.
        port: The port of that Service.
        asked: The request, rewritten.
        why: What of the route makes it another one than the caller's.
    """

    service: Service
    port: Port
    asked: Asked
    why: str


def arrivals(service: Service, port: Port, asked: Asked, rule: Rule) -> list[Arrival]:
    """Return where a rule of a route sends copies of a request that policies may decide otherwise: to other Services or
    ports, or changed on the way.
    """
    if rule.redirect:
        return []
    sent, changes = _changed(asked, rule)
    found: dict[tuple[str, int], Arrival] = {}
    ways = [(backend.destination, "goes to", backend.weight > 0) for backend in rule.backends]
    ways += [(mirror.destination, "is copied to", mirror.percent > 0) for mirror in rule.mirrors]
    for destination, how, used in ways:
        elsewhere = (destination.service.host, destination.port.number) != (service.host, port.number)
        place = (destination.service.host, destination.port.number)
        if used and place not in found and (elsewhere or changes):
            parts = [*changes, *([f"{how} {destination.service.name}:{destination.port.number}"] if elsewhere else [])]
            found[place] = Arrival(destination.service, destination.port, sent, " and ".join(parts))
    return list(found.values())


def _changed(asked: Asked, rule: Rule) -> tuple[Asked, list[str]]:
    """Return a request with the rewrites and header changes of a rule, and what they are."""
    changes: list[str] = []
    path, host, headers = asked.path, asked.host, asked.headers
    if rule.rewrite:
        path, host = _rewritten(asked.path, rule), rule.rewrite.host or asked.host
        changes += [f"is rewritten to {path}"] if path != asked.path else []
        changes += [f"gets the host {host}"] if host != asked.host else []
    if rule.headers:
        change = rule.headers.request
        gone = {name for name, _ in change.set} | set(change.remove)
        headers = (*((name, value) for name, value in headers if name not in gone), *change.set, *change.add)
        changes += ["gets other headers"] if headers != asked.headers else []
    return replace(asked, path=path, host=host, headers=headers), changes


def _rewritten(path: str, rule: Rule) -> str:
    rewrite = rule.rewrite
    if rewrite is None or not (rewrite.path or rewrite.prefix):
        return path
    if rewrite.path:
        return rewrite.path
    prefixes = [match.path.value for match in rule.matches if match.path and match.path.kind == "prefix"]
    taken = [one for one in prefixes if prefix(one).matches(path)] if prefixes else ["/"]
    if not taken:
        return path
    rest = path[len(max(taken, key=len).rstrip("/")) :]
    return (rewrite.prefix.rstrip("/") + rest) or "/"


def ask(
    security: Security, caller: Caller, service: Service, ports: Sequence[Port], asked: Asked
) -> tuple[list[Explanation], list[Answer]]:
    """Decide a request at ports of a Service, and say where the route sends it.

    Args:
        security: What decides.
        caller: Who calls.
        service: The Service that is called.
        ports: The ports of it that are called.
        asked: The request.

    Returns:
        An explanation for each port, and every answer in them.

    Raises:
        ConfigurationError: It takes too many steps (MSH163).
    """
    entries: list[Explanation] = []
    answers: list[Answer] = []
    for port in ports:
        answer = security.answer(caller.applied(asked.of(service, port, protocol(security.world, service, port))))
        request = answer.request
        entry: Explanation = {
            "service": service.name,
            "namespace": service.namespace,
            "port": port.number,
            "caller": caller.name,
            "account": str(caller.account) if caller.account else None,
            "request": {"method": request.verb, "path": request.path} if request.http else None,
            "protocol": "grpc" if request.grpc else "http" if request.http else "tcp",
            **explain(security, answer),
        }
        route, further = _route(security, caller, answer, asked)
        entries.append({**entry, "route": route, "arrives": [one for one, _ in further]})
        answers += [answer, *(one for _, one in further)]
    return entries, answers


def _route(
    security: Security, caller: Caller, answer: Answer, asked: Asked
) -> tuple[Explanation, list[tuple[Explanation, Answer]]]:
    """Return what the route of a Service does with a request, and what policies say where it leads elsewhere."""
    request = answer.request
    own = (request.service.host, request.port.number)
    plan = next((one for one in security.routes if (one.route.service.host, one.route.port.number) == own), None)
    if caller.kind == "gateway":
        return {"key": None, "reason": "A gateway has routes of its own: `--host` says what they do."}, []
    if caller.account is None:
        return {"key": None, "reason": "A caller outside of the mesh goes by no route: it reaches any pod."}, []
    if plan is None or not request.http:
        return {"key": None, "reason": "No route governs this port: any pod of the Service gets it."}, []
    sent = Request(
        request.path,
        request.verb,
        asked.headers,
        asked.query,
        asked.source or caller.labels,
        asked.source_namespace or caller.account.namespace,
    )
    try:
        with patterns.counted():
            decided = evaluate(plan, sent, security.proxy)
    except patterns.TooMuchWork as error:
        raise ConfigurationError([routing.too_much(plan, error)]) from None
    further: list[tuple[Explanation, Answer]] = []
    for one in arrivals(request.service, request.port, asked, decided.rule) if decided.rule else []:
        arriving = one.asked.of(one.service, one.port, protocol(security.world, one.service, one.port))
        there = security.answer(caller.applied(arriving))
        place = {"service": one.service.name, "namespace": one.service.namespace, "port": one.port.number}
        further.append(({"because": one.why, **place, "path": one.asked.path, **explain(security, there)}, there))
    return {"key": plan.route.key, **routing.decision(plan, decided)}, further


def explain(security: Security, answer: Answer) -> Explanation:
    """Return the explanation of an answer: camelCase, plain data.

    `allowed`, `object` and `answer` are of the objects: those of the cluster if it was asked.
    """
    request, verdict = answer.request, answer.verdict
    made: Explanation = {
        "allowed": verdict.allowed,
        **_by_objects(verdict, request),
        "policy": {
            "allowed": answer.policy.allowed,
            "by": answer.policy.by,
            "rule": answer.policy.key or None,
            "where": answer.policy.where or None,
            "reason": answer.policy.reason,
            "audited": list(answer.policy.audited),
        },
        "deviation": answer.deviation or None,
        "contradiction": _contradiction(answer),
    }
    if answer.live is not None:
        made["planned"] = {"allowed": answer.planned.allowed, **_by_objects(answer.planned, request)}
        made["differs"] = answer.differs
    made["opening"] = None if answer.policy.allowed else opening(security, answer)
    return made


def _by_objects(verdict: Verdict, request: AccessRequest) -> Explanation:
    denied: Explanation | None = None
    if not verdict.allowed:
        closed = verdict.status is None and verdict.grpc_status is None
        denied = {
            "connectionClosed": closed,
            "status": verdict.status,
            "body": verdict.body if not closed else None,
            "grpcStatus": verdict.grpc_status if request.grpc else None,
        }
    return {
        "object": verdict.object or None,
        "part": verdict.rule or None,
        "reason": verdict.reason,
        "answer": denied,
        "audited": list(verdict.audited),
    }


def _contradiction(answer: Answer) -> str | None:
    if not answer.contradicts:
        return None
    words = {True: "allow", False: "deny"}
    policy, objects = words[answer.policy.allowed], words[answer.planned.allowed]
    return (
        f"The configuration says '{policy}' ({_brief(answer.policy.reason)}), and the objects that are written for it "
        f"{objects} it ({_brief(answer.planned.reason)})."
    )


def opening(security: Security, answer: Answer) -> Explanation:
    """Return the smallest change of the configuration that opens a request that it denies.

    Returns:
        `configuration`: values of `meshup:security`, None if that is no matter of adding something; `advice`: text.
    """
    request, decision = answer.request, answer.policy
    policy = security.policy
    if decision.by == "deny":
        return {"configuration": None, "advice": f"The rule {decision.key} denies it: narrow or remove that."}
    if decision.by == "token":
        return {"configuration": None, "advice": _token_advice(policy, request)}
    made: Explanation = {}
    advice = ""
    if decision.by == "mtls":
        service, port = request.service, request.port
        one = len(service.ports) == 1
        exception = {"namespace": service.namespace, "service": service.name}
        exception |= {} if one else {"port": port.number}
        made["mtls"] = {"exceptions": [{**exception, "mode": "permissive", "reason": "..."}]}
        advice = "Better: let the caller join the mesh, so that it has an identity."
        advice += "" if request.address else " With its address (--address), the rule opens that address alone."
        open_to_all = MtlsException(service.namespace, "permissive", service, None if one else port)
        policy = replace(policy, exceptions=(*policy.exceptions, open_to_all))
        decision = decide(policy, security.world, request)
    if decision.by == "closed":
        made["allow"] = _known_paths(smallest_rule(request, security.world), request, security.world)
    elif not decision.allowed:
        advice = f"{advice} Then also: {decision.reason}".strip()
    return {"configuration": made or None, "advice": advice}


def _known_paths(
    rule: dict[str, list[dict[str, Any]]], request: AccessRequest, world: World
) -> dict[str, list[dict[str, Any]]]:
    """Return a rule with the paths of the known call in place of the one path, if it is such a call."""
    call = next((one for one in world.calls if is_call(one, request, world)), None)
    if call is None or not request.http or request.grpc or not call.paths:
        return rule
    paths = [path if isinstance(path, str) else dict(path) for path in call.paths]
    name, (one,) = next(iter(rule.items()))
    operations = [{**operation, **({"paths": paths} if "paths" in operation else {})} for operation in one["to"]]
    return {name: [{**one, "to": operations}]}


def is_call(call: Call, request: AccessRequest, world: World) -> bool:
    """Return True if a request is one that a known call makes; users come by any gateway."""
    place = (request.service.name, request.service.namespace, request.port.number)
    callers = [call.caller] if call.caller else [*world.gateways.values()]
    if (call.service, call.namespace, call.port) != place or request.caller not in callers:
        return False
    if not request.http or not call.method:
        return True
    return call.method == request.verb and (
        not call.paths or any(pattern_of(path).matches(request.path) for path in call.paths)
    )


def pattern_of(path: str | Mapping[str, str]) -> PathPattern:
    """Return the pattern of a path as rules write it."""
    if isinstance(path, str):
        return exact(path)
    kind, value = next(iter(path.items()))
    return {"exact": exact, "prefix": prefix, "template": template}[kind](value)


def tokens_of(policy: Policy, service: Service) -> list[Jwt]:
    """Return the tokens that the pods of a Service read, whichever of their Services asks for them."""
    found = map(policy.authentication_of, policy.same_pods(service))
    return [jwt for tokens in found if tokens for jwt in tokens.jwt]


def _token_advice(policy: Policy, request: AccessRequest) -> str:
    read = tokens_of(policy, request.service)
    issuers = [jwt for jwt in read if jwt.require] or read
    if not issuers:
        return "Send the request without that token."
    return f"Send a token of {' or of '.join(map(_issuer, issuers))}."


def _issuer(jwt: Jwt) -> str:
    parts = [f"aud {' or '.join(jwt.audiences)}"] if jwt.audiences else []
    parts += [f"{'.'.join(name)} {' or '.join(values)}" for name, values in jwt.claims]
    return jwt.issuer + (f" with {', '.join(parts)}" if parts else "")


def diagnostics(answers: Sequence[Answer]) -> list[Diagnostic]:
    """Return the diagnostics of answers: contradictions, which are defects, and what the cluster does otherwise."""
    found: list[Diagnostic] = []
    for answer in answers:
        where = title(answer.request)
        if message := _contradiction(answer):
            found.append(Diagnostic("MSH584", where, None, message))
        if answer.live and answer.differs:
            words = {True: "allows", False: "denies"}
            message = (
                f"The cluster {words[answer.live.allowed]} it ({_brief(answer.live.reason)}), and the stack as it is "
                f"configured {words[answer.planned.allowed]} it ({_brief(answer.planned.reason)})."
            )
            found.append(Diagnostic("MSH585", where, None, message, severity="warning"))
    return found


def _brief(sentence: str) -> str:
    return sentence.rstrip(".")


def title(request: AccessRequest) -> str:
    """Return a request in one line."""
    caller = str(request.caller) if request.caller else "a plain caller"
    if request.caller == OTHER.account:
        caller = OTHER.name
    what = f"{request.verb} {request.path} " if request.http else ""
    token = " with a token" if request.bearer != "none" else ""
    return f"{what}{request.service.name}.{request.service.namespace}:{request.port.number} from {caller}{token}"


# -- for people


def show(entries: Sequence[Explanation], console: Console) -> None:
    """Print explanations for people."""
    for entry in entries:
        console.print(_panel(entry))


def _panel(entry: Explanation) -> Panel:
    called = entry["request"]
    what = f"{called['method']} {called['path']}" if called else "a connection"
    table = Table(box=None, show_header=False, pad_edge=False, expand=True)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for name, text in _rows(entry):
        table.add_row(name, text)
    parts: list[Any] = [Text(what), _headline(entry), Text(), table]
    if entry["opening"]:
        parts += [Text(), *_opening_lines(entry["opening"])]
    parts += [Text(), *_route_lines(entry)]
    title = f"{entry['caller']} -> {entry['service']}.{entry['namespace']}:{entry['port']}"
    return Panel(Group(*parts), title=Text(title), title_align="left")


def _headline(entry: Explanation) -> Text:
    if entry["contradiction"]:
        return Text(f"DEFECT: {entry['contradiction']}", style="bold white on red")
    return Text("allowed", style="bold green") if entry["allowed"] else Text("denied", style="bold red")


def _rows(entry: Explanation) -> Iterator[tuple[str, Text]]:
    policy = entry["policy"]
    where = f" ({policy['where']})" if policy["where"] else ""
    yield "configuration", Text(f"{_word(policy)}: {policy['reason']}{where}")
    if entry["deviation"]:
        yield "", Text(entry["deviation"], style="yellow")
    if policy["audited"]:
        yield "", Text(f"only counted, would deny it: {', '.join(policy['audited'])}", style="yellow")
    planned = entry.get("planned")
    if planned:
        yield "planned objects", Text(_objects_text(planned))
    yield "cluster" if planned else "objects", Text(_objects_text(entry))
    if planned and entry["differs"]:
        yield "", Text("The cluster decides otherwise than the stack as it is configured.", style="bold yellow")
    if entry["audited"]:
        yield "", Text(f"only counted, would deny it: {', '.join(entry['audited'])}", style="yellow")
    if entry["answer"]:
        yield "answer", Text(_answer_text(entry["answer"]))


def _word(part: Explanation) -> str:
    return "allowed" if part["allowed"] else "denied"


def _objects_text(part: Explanation) -> str:
    name = " ".join(filter(None, (part["object"], part["part"])))
    return f"{_word(part)}{f' by {name}' if name else ''}: {part['reason']}"


def _answer_text(answer: Explanation) -> str:
    if answer["connectionClosed"]:
        return "none: the connection is closed"
    parts = [f"status {answer['status']}"] if answer["status"] is not None else []
    parts += [f"body '{answer['body']}'" if answer["body"] else "no body"]
    parts += [f"gRPC status {answer['grpcStatus']}"] if answer["grpcStatus"] is not None else []
    return ", ".join(parts)


def _opening_lines(opened: Explanation) -> list[Text]:
    lines: list[Text] = []
    if opened["configuration"]:
        written = yaml.safe_dump({"meshup:security": opened["configuration"]}, sort_keys=False, width=100)
        lines += [Text("The smallest change that opens it:", style="bold"), Text(written.rstrip(), style="cyan")]
    return lines + ([Text(opened["advice"])] if opened["advice"] else [])


def _route_lines(entry: Explanation) -> list[Text]:
    route = entry["route"]
    if route["key"] is None:
        return [Text(f"route: {route['reason']}", style="dim")]
    lines = [Text(f"route {route['key']}:"), *routing.taken_lines(route)]
    for one in entry["arrives"]:
        where = f"{one['service']}.{one['namespace']}:{one['port']}"
        answer = f" ({_answer_text(one['answer'])})" if one["answer"] else ""
        style = "green" if one["allowed"] else "bold red"
        lines.append(Text(f"  {one['because']}: {_objects_text(one)} at {where}{answer}", style=style))
        lines += [Text(f"  DEFECT: {one['contradiction']}", style="bold white on red")] if one["contradiction"] else []
    return lines
