"""Sources and operations as sets: what one covers, no request tells otherwise."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from components.security.coverage import Part, may_meet, operation_covers, part_covers, source_covers
from components.security.evaluate import decide, operation_takes
from components.security.model import Account, Identity, Network, Operation, Policy, Rule, Source
from components.security.paths import PathPattern
from components.security.plane import AccessRequest
from components.security.world import World
from components.traffic import Port, Service
from components.traffic.model import TextMatch

PORTS = (Port(80, "http", target=8080), Port(81, target=8080), Port(9000))
SERVICE = Service("cart", "shop", PORTS)
WORLD = World((SERVICE,))

names = st.sampled_from(["a", "b"])
domains = st.sampled_from(["", "cluster.local", "other.example"])
identities = st.one_of(
    st.builds(Identity, st.just("account"), names, names, domains),
    st.builds(Identity, st.just("namespace"), names, st.just(""), domains),
    st.builds(Identity, st.just("trust-domain"), st.just(""), st.just(""), domains),
    st.just(Identity("mesh")),
)
cidrs = st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "fd00::/8", "fd00:1::/32"])
holes = st.sampled_from(["10.1.0.0/16", "10.1.2.0/24", "10.1.2.3/32", "10.9.0.0/16"])


@st.composite
def _networks(draw: st.DrawFn) -> Network:
    cidr = draw(cidrs)
    return Network(cidr, tuple(draw(st.lists(holes, max_size=2))) if "." in cidr else ())


sources = st.builds(Source, st.none() | identities, st.lists(_networks(), max_size=2).map(tuple))
segments = st.lists(st.sampled_from(["a", "b", "", None]), max_size=3).map(tuple)
patterns = st.builds(PathPattern, segments, st.booleans()).filter(lambda one: bool(one.segments) or one.open)
conditions = st.one_of(
    st.just(TextMatch("present")),
    st.builds(TextMatch, st.sampled_from(["exact", "prefix"]), st.sampled_from(["v", "v1", "w"])),
)
operations = st.builds(
    Operation,
    port=st.none() | st.sampled_from(PORTS),
    methods=st.lists(st.sampled_from(["GET", "POST"]), max_size=2, unique=True).map(tuple),
    paths=st.lists(patterns, max_size=2).map(tuple),
    headers=st.lists(st.tuples(st.sampled_from(["x", "y"]), conditions), max_size=2).map(tuple),
    hosts=st.lists(st.sampled_from(["a.example", "*.example", "*.a.example"]), max_size=2).map(tuple),
)
requests = st.builds(
    AccessRequest,
    service=st.just(SERVICE),
    port=st.sampled_from(PORTS),
    caller=st.none() | st.builds(Account, names, names),
    trust_domain=domains,
    address=st.sampled_from(["", "10.1.2.3", "10.1.2.4", "10.1.9.9", "10.9.1.1", "fd00:1::1", "192.0.2.1"]),
    http=st.booleans(),
    method=st.sampled_from(["GET", "POST"]),
    path=st.lists(st.sampled_from(["a", "b", ""]), max_size=4).map(lambda parts: "/" + "/".join(parts)),
    headers=st.lists(st.tuples(st.sampled_from(["x", "y"]), st.sampled_from(["v", "v1", "w"])), max_size=3).map(tuple),
    host=st.sampled_from(["", "a.example", "b.a.example", "other.org"]),
)


def _takes(source: Source, operation: Operation, request: AccessRequest) -> bool:
    rule = Rule("rule", "allow", SERVICE, (source,), (operation,))
    return decide(Policy(mode="permissive", rules=(rule,)), WORLD, request).by == "allow"


@settings(max_examples=150)
@given(sources, sources, operations, operations, st.lists(requests, min_size=5, max_size=20))
def test_what_a_part_of_a_rule_takes_is_taken_by_each_part_that_covers_it(
    outer: Source, inner: Source, wide: Operation, narrow: Operation, asked: list[AccessRequest]
) -> None:
    rules = [Rule(key, "allow", SERVICE, (source,)) for key, source in (("outer", outer), ("inner", inner))]
    covered = part_covers(Part(rules[0], outer, wide), Part(rules[1], inner, narrow), WORLD.trust_domain)
    assert covered == (source_covers(outer, inner, WORLD.trust_domain) and operation_covers(wide, narrow, PORTS))
    for request in asked if covered else ():
        assert not _takes(inner, narrow, request) or _takes(outer, wide, request)


@settings(max_examples=150)
@given(sources, sources, st.lists(requests, min_size=5, max_size=20))
def test_callers_of_a_source_are_callers_of_each_that_covers_it(
    outer: Source, inner: Source, asked: list[AccessRequest]
) -> None:
    everything = Operation()
    for request in asked if source_covers(outer, inner, WORLD.trust_domain) else ():
        assert not _takes(inner, everything, request) or _takes(outer, everything, request)


@settings(max_examples=150)
@given(operations, operations, st.lists(requests, min_size=5, max_size=20))
def test_what_two_operations_take_is_told_from_what_none_does(
    one: Operation, other: Operation, asked: list[AccessRequest]
) -> None:
    for request in asked:
        both = operation_takes(one, request) and operation_takes(other, request)
        assert may_meet(one, other) or not both
        assert not operation_covers(one, other) or not operation_takes(other, request) or operation_takes(one, request)


@given(sources, operations)
def test_each_source_and_each_operation_covers_itself(source: Source, operation: Operation) -> None:
    assert source_covers(source, source, WORLD.trust_domain)
    assert operation_covers(operation, operation) and (may_meet(operation, operation) or not operation.paths)
