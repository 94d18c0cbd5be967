"""What `meshup explain` predicts is what Envoy does: generated rule sets, generated requests, both APIs of Istio.

Many rule sets are pushed at once, each with a Service of its own, and all their requests are sent together; a push for
each would take hours. Every rule names itself in a response header, so the rule that took a request is known exactly.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import strategies as st

from components.diagnostics import errors
from components.traffic import Compilation, Port, Service, Version, parse
from components.traffic.evaluate import Decision, Request, evaluate, request_from
from components.traffic.targets import Planned
from tests.conftest import nightly
from tests.dataplane.traffic import examples
from tests.dataplane.traffic.bench import NAMESPACE, PORT, Bench, kubernetes_service
from tests.dataplane.traffic.request_batch import Answer, Sent
from tests.unit.traffic import strategies
from tests.unit.traffic.helpers import compile_routes
from tests.unit.traffic.strategies import NAMES, PATHS, VALUES

pytestmark = pytest.mark.dataplane

VERSIONS = ("v1", "v2", "v3")
# Rule sets that are pushed together, and the requests that each of them is asked.
SETS, REQUESTS = 34, 15
BATCHES = 20 if nightly() else 1
APIS = ("istio", "gateway-api")


@dataclass(frozen=True)
class Asked:
    """A request as it is typed for `meshup explain` and sent to Envoy."""

    target: str
    method: str
    headers: tuple[tuple[str, str], ...]

    def as_request(self, caller: Service) -> Request:
        """The request as `explain` reads it, from a pod of the caller."""
        asked = request_from(self.target, self.method, self.headers)
        source = (*caller.selector, *caller.versions[0].labels)
        return Request(asked.path, asked.method, asked.headers, asked.query, source, caller.namespace)


@dataclass(frozen=True)
class RuleSet:
    """The rules of one Service and the requests that are sent to it."""

    rules: list[dict[str, Any]]
    asked: list[Asked]


CALLER = Service(
    "productpage", NAMESPACE, (Port(PORT),), (Version("v1", (("version", "v1"),)),), (("app", "productpage"),)
)
"""Who sends: its labels are what `source` is compared with."""

SUBJECT = Service(
    "subject",
    NAMESPACE,
    (Port(PORT, f"http-{PORT}", "http"),),
    tuple(Version(version, (("version", version),)) for version in VERSIONS),
    (("app", "reviews"),),
)
"""The Service whose versions all rules send to."""

sources: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
    [
        {"source": {"app": "productpage"}},
        {"source": {"app": "productpage", "version": "v2"}},
        {"sourceNamespace": NAMESPACE},
        {"sourceNamespace": "elsewhere"},
    ]
)


texts: st.SearchStrategy[Any] = st.one_of(
    strategies.text_matches,
    # What tells one character from two bytes, one blank from two, joined values from single ones.
    st.fixed_dictionaries({"regex": st.sampled_from([".", "..", "b.", "[^b]+", ".*,.*", "a?,b", r"\W+b?"])}),
)
calls: st.SearchStrategy[Any] = st.sampled_from(
    [{"service": "shop.Cart"}, {"service": "shop.Cart", "method": "Add"}, {"service": "shop", "method": "Add"}]
)

parts: dict[str, st.SearchStrategy[Any]] = {
    "path": strategies.paths,
    "method": st.sampled_from(["GET", "POST"]),
    "headers": st.dictionaries(st.sampled_from(NAMES), texts, min_size=1, max_size=2),
    "cookies": st.dictionaries(st.sampled_from(["group", "id"]), st.sampled_from(["b", "beta"]), min_size=1),
    "query": st.dictionaries(st.sampled_from(["q", "r"]), texts, min_size=1, max_size=2),
}


@st.composite
def some_matches(draw: st.DrawFn) -> dict[str, Any]:
    """A match of few conditions, so that requests meet several at once, which is where precedence shows."""
    if draw(st.integers(0, 9)) == 0:
        return {"grpc": draw(calls), **({"headers": draw(parts["headers"])} if draw(st.booleans()) else {})}
    chosen = draw(st.lists(st.sampled_from([*parts, "path"]), min_size=1, max_size=2, unique=True))
    return {part: draw(parts[part]) for part in chosen}


@st.composite
def some_rules(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rules of which only the last may take every request. Some ask for the caller, which only a VirtualService can."""
    asks_for_caller = draw(st.integers(0, 3)) == 0
    found: list[dict[str, Any]] = []
    for _ in range(draw(st.integers(2, 5))):
        listed = draw(st.lists(some_matches(), min_size=1, max_size=2))
        if asks_for_caller:
            listed = [match | draw(sources) for match in listed]
        found.append({"version": draw(st.sampled_from(VERSIONS)), "match": listed})
    if draw(st.booleans()):
        # The order that the Gateway API itself has, so that an HTTPRoute can do it too.
        found = [{**rule, "match": rule["match"][:1]} for rule in found]
        found.sort(key=lambda rule: specificity(rule["match"][0]), reverse=True)
    if draw(st.booleans()):
        found.append({"version": draw(st.sampled_from(VERSIONS))})
    return found


def specificity(match: dict[str, Any]) -> tuple[int, ...]:
    """What the Gateway API's specification prefers: the path, then a method, then more headers, then more queries."""
    ((kind, path),) = match.get("path", {"prefix": "/"}).items()
    if "grpc" in match:
        kind, path = "exact" if "method" in match["grpc"] else "prefix", "/" + "/".join(match["grpc"].values())
    named = len(match.get("headers", {})) + bool(match.get("cookies"))
    method = "method" in match or "grpc" in match
    return (["regex", "prefix", "exact"].index(kind), len(path), method, named, len(match.get("query", {})))


paths = st.sampled_from(
    [
        *(*PATHS, "/a/c", "/abc", "/c", "/a/", "/a/b/", "/b/", "/A", "/a/b/c", "/a%20b", "/a/b;c"),
        # Envoy normalises paths before it routes.
        *("/a/../b", "/b/%2e%2E/a/./b", "/a\\b", "/%61/b", "/a/..", "/a%2fb", "//a", "/ab/{x}"),
        *("/a/..;x/b", "/a/.;x", "/a/%2e%2e;x/b"),
        *("/shop.Cart", "/shop.Cart/", "/shop.Cart/Add", "/shop.Cart/Add/x", "/shop/Add"),
    ]
)
queries = st.lists(
    st.sampled_from(
        [
            "q=1",
            "q=beta",
            "q=b",
            "q=other",
            "q=",
            "q",
            "r=b",
            "r=beta",
            "r=b%20c",
            "q=b+c",
            "Q=1",
            "x=1",
            "q=%62eta",
            "%71=1",
            "q=b%0A",
            "r=%C3%A9",
        ]
    ),
    max_size=2,
)
values = st.sampled_from(
    [*VALUES, "other", "B", "b1", "1 1", "b, c", "a,b", "", "\u00e9", "b\u20ac", "\udce9", "b\udcc0\udc80", "\u00e9b"]
)
headers = st.lists(st.tuples(st.sampled_from([*NAMES, "X-Group", "x-other"]), values), max_size=3)
cookies = st.lists(
    st.tuples(st.sampled_from(["group", "id", "x"]), st.sampled_from(["b", "beta", "c", ""])), max_size=2
)


def text_for(draw: st.DrawFn, condition: Any) -> str:
    """A text that meets a comparison, as far as it is one of prefix, presence or this file's patterns."""
    if isinstance(condition, str):
        return condition
    if "prefix" in condition:
        return f"{condition['prefix']}{draw(st.sampled_from(['', 'x']))}"
    return draw(st.sampled_from(["b1", "b", "1", "\u00e9", "\udce9", "a,b"]) if "regex" in condition else values)


def path_for(draw: st.DrawFn, condition: dict[str, str]) -> str:
    """A path that meets a condition, or just misses it."""
    if "regex" in condition:
        return draw(paths)
    end = draw(st.sampled_from(["", "", "/", "/a", "b"] if "prefix" in condition else ["", "", "", "/"]))
    return f"/{(condition.get('prefix') or condition['exact']).strip('/')}{end}".replace("//", "/")


@st.composite
def questions(draw: st.DrawFn, rules: list[dict[str, Any]]) -> Asked:
    """A request that is about up to two matches of the rules, with something of its own."""
    path, method, sent = draw(paths), draw(st.sampled_from(["GET", "POST", "PUT", "HEAD"])), draw(headers)
    query, jar = draw(queries), draw(cookies)
    listed = [match for rule in rules for match in rule.get("match", [])]
    for match in draw(st.lists(st.sampled_from(listed), max_size=2)):
        path = path_for(draw, match["path"]) if "path" in match else path
        method = match.get("method", method)
        if "grpc" in match:
            path, method = "/" + "/".join(match["grpc"].values()), draw(st.sampled_from(["POST", "POST", "GET"]))
        sent += [(name, text_for(draw, condition)) for name, condition in match.get("headers", {}).items()]
        jar += [(name, text_for(draw, condition)) for name, condition in match.get("cookies", {}).items()]
        # Envoy compares the first parameter of a name.
        query = [
            f"{name}={quote(text_for(draw, condition), errors='surrogateescape')}"
            for name, condition in match.get("query", {}).items()
        ] + query
    if draw(st.booleans()):
        # A name that stands twice.
        sent += [(name, draw(values)) for name, _ in sent[:1]]
    if jar:
        written = [f"{name}={value}" for name, value in jar]
        split = draw(st.integers(0, 4)) == 0
        separator = draw(st.sampled_from(["; ", "; ", ";", ";  ", " ; "]))
        sent += [("cookie", text) for text in (written if split else [separator.join(written)])]
    sent = draw(st.permutations(sent))
    return Asked(f"{path}?{'&'.join(query)}" if query else path, method, tuple(sent))


@st.composite
def some_sets(draw: st.DrawFn) -> RuleSet:
    """Rules with the requests that are about them."""
    rules = draw(some_rules())
    return RuleSet(rules, [draw(questions(rules)) for _ in range(REQUESTS)])


def body(rule_set: RuleSet, api: str) -> dict[str, Any]:
    """The rule set as the configuration of one Service."""
    return {
        "api": api,
        "rules": [
            {
                "backends": [{"service": SUBJECT.name, "version": rule["version"]}],
                "headers": {"response": {"set": {"x-rule": f"rule-{position}"}}},
                **({"match": rule["match"]} if "match" in rule else {}),
            }
            for position, rule in enumerate(rule_set.rules)
        ],
    }


def compiles(rule_set: RuleSet) -> bool:
    """Whether a VirtualService can do it: no rule is unreachable."""
    service = Service("set", NAMESPACE, SUBJECT.ports, (), SUBJECT.selector)
    return examples.compilation_of({"set": body(rule_set, "istio")}, "istio", [service, SUBJECT]) is not None


rule_sets = some_sets().filter(compiles)


def services(batch: int) -> list[Service]:
    """A Service for each rule set and API of a batch."""
    return [
        Service(f"set-{batch}-{number}-{api}", NAMESPACE, SUBJECT.ports, (), SUBJECT.selector)
        for number in range(SETS)
        for api in APIS
    ]


def compiled(batch: int, sets: list[RuleSet]) -> tuple[Compilation, dict[str, RuleSet]]:
    """All rule sets of a batch for each API that can do them, and the rule set of each Service."""
    owners = services(batch)
    known = [*owners, SUBJECT]
    chosen: dict[str, RuleSet] = {}
    raw: dict[str, Any] = {}
    for number, rule_set in enumerate(sets):
        for api in APIS:
            name = f"set-{batch}-{number}-{api}"
            if examples.compilation_of({name: body(rule_set, api)}, "istio", known):
                raw[name] = body(rule_set, api)
                chosen[name] = rule_set
    routes, faults = parse(raw, "meshup:traffic", known)
    assert not faults
    compilation = compile_routes(routes, "istio", known)
    assert not errors(compilation.diagnostics)
    return compilation, chosen


def outcome(decision: Decision) -> tuple[str, str]:
    """The rule and the version that are predicted; any version for the rest that meshup adds a rule for."""
    assert decision.rule is not None
    return ("", "") if decision.rule.added else (decision.rule.name, decision.rule.backends[0].destination.label)


def observed(answer: Answer, decision: Decision) -> tuple[str, str]:
    """The rule and the version that answered. An answer to HEAD has no body, so the version is in a header too."""
    if answer.status != 200:
        return f"status {answer.status}", ""
    assert decision.rule is not None
    version = "" if decision.rule.added else answer.headers.get("x-workload-version", "")
    return answer.headers.get("x-rule", ""), version


def pairs(compilation: Compilation, chosen: dict[str, RuleSet]) -> Iterator[tuple[Planned, Asked, Decision]]:
    """Every plan with every request of its rule set, and what is predicted."""
    for plan in compilation.planned:
        for asked in chosen[plan.route.key].asked:
            yield plan, asked, evaluate(plan, asked.as_request(CALLER))


@pytest.mark.parametrize("batch", range(BATCHES))
def test_envoy_does_what_explain_predicts(bench: Bench, batch: int) -> None:
    seed = examples.seed_of_this_run() + batch
    compilation, chosen = compiled(batch, examples.drawn(rule_sets, SETS, seed))
    assert {plan.route.api for plan in compilation.planned} == set(APIS)
    asked = list(pairs(compilation, chosen))
    assert len(asked) >= SETS * REQUESTS
    owners = [kubernetes_service(service) for service in (*services(batch), SUBJECT)]
    objects = [*owners, *compilation.manifests]
    try:
        bench.apply(objects)
        bench.until_routed(compilation)
        answers = bench.send([Sent(p.route.service.host, a.target, a.method, a.headers) for p, a, _ in asked])
    finally:
        bench.delete(objects)
    wrong = [
        f"{plan.target.title}: {question}\n  rules: {chosen[plan.route.key].rules}\n"
        f"  predicted {outcome(decision)}, observed {observed(answer, decision)}"
        for (plan, question, decision), answer in zip(asked, answers, strict=True)
        if outcome(decision) != observed(answer, decision)
    ]
    assert not wrong, "\n".join(
        [f"MESHUP_TEST_SEED={examples.seed_of_this_run()}", *wrong[:20], f"{len(wrong)} in all"]
    )
