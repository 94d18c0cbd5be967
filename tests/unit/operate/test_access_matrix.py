"""`meshup access`, its pure part: every caller and every Service, as data, as a table and as a picture."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from io import StringIO
from xml.etree import ElementTree

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from rich.console import Console

from components.diagnostics import errors
from components.manifests import Manifest
from components.meshes.istio.security import ISTIO_SECURITY
from components.meshes.linkerd.security import LINKERD_SECURITY
from components.security.model import (
    Account,
    Authentication,
    Identity,
    Jwt,
    Mode,
    MtlsException,
    NamespacePolicy,
    Network,
    Policy,
    Rule,
    Source,
)
from components.security.paths import exact, prefix, template
from components.security.plane import AccessRequest, Verdict
from components.security.world import World
from components.traffic.model import Port, TextMatch
from components.traffic.proxies import PortReading
from operate import access, graph, matrix
from operate.access import Security
from operate.matrix import Cell, Matrix
from tests.conftest import nightly
from tests.unit.istio_security import test_properties as istio
from tests.unit.linkerd_security import test_property as linkerd
from tests.unit.operate.security import (
    GATEWAY,
    POLICY,
    PRODUCTPAGE,
    RATINGS,
    REVIEWS,
    SERVICES,
    WORLD,
    Plain,
    account,
    allow,
    operation,
    security,
    with_rules,
)

OPEN = Policy(services=POLICY.services)
NAME = "bookinfo/bookinfo-{}"


def built(policy: Policy = POLICY, **more: object) -> Matrix:
    return matrix.build(security(policy, **more))  # type: ignore[arg-type]


def cell(made: Matrix, caller: str, service: str, port: int = 9080) -> Cell:
    name = caller if " " in caller or "/" in caller or caller == "plain" else NAME.format(caller)
    return next(
        one for one in made.cells if (one.caller.name, one.service.name, one.port.number) == (name, service, port)
    )


def printed(made: Matrix, width: int = 200) -> str:
    console = Console(width=width, file=StringIO())
    matrix.show(made, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def edges(made: Matrix) -> set[tuple[str | None, str | None, str | None]]:
    text = graph.svg(made, WORLD)
    assert text == graph.svg(made, WORLD)
    root = ElementTree.fromstring(text)  # noqa: S314 -- our own
    return {
        (one.get("data-from"), one.get("data-to"), one.get("data-kind")) for one in root.iter() if one.get("data-from")
    }


# -- cells


def test_a_closed_application_shows_its_open_edges_and_no_other() -> None:
    made = built()
    open_cells = {(one.caller.name, one.service.name): one.operations for one in made.cells if one.extent != "none"}
    assert open_cells == {
        ("gateway public", "productpage"): (),
        (NAME.format("productpage"), "reviews"): ("GET /reviews/**",),
        (NAME.format("productpage"), "details"): ("GET /details/{*}",),
    }
    assert cell(made, "gateway public", "productpage").extent == "all"
    assert not [one for one in made.cells if one.unused]


def test_a_known_call_that_is_denied_is_marked_at_its_caller() -> None:
    missing = {(one.caller.name, one.service.name): [call.text for call in one.missing] for one in built().cells}
    assert {place: calls for place, calls in missing.items() if calls} == {
        (NAME.format("reviews"), "ratings"): ["GET /ratings/0"]
    }


def test_an_open_edge_that_no_call_needs_is_marked_for_accounts_of_a_known_application_only() -> None:
    further = with_rules(
        allow("ratings", account(RATINGS), key="a"), allow("details", Source(Identity("mesh")), key="b")
    )
    unused = {(one.caller.name, one.service.name) for one in built(further).cells if one.unused}
    assert (NAME.format("ratings"), "ratings") in unused
    assert (NAME.format("productpage"), "details") not in unused
    assert {caller for caller, service in unused if service == "details"} >= {"gateway public", NAME.format("ratings")}
    assert "any other" not in {caller for caller, _ in unused}
    unknown = matrix.build(replace(security(further), world=replace(WORLD, calls=())))
    assert not [one for one in unknown.cells if one.unused]


def test_without_a_policy_everything_is_open_to_identities_and_nothing_to_plain_callers() -> None:
    made = built(OPEN)
    assert {one.extent for one in made.cells if one.caller.kind != "plain"} == {"all"}
    assert {one.extent for one in made.cells if one.caller.kind == "plain"} == {"none"}
    assert not [one for one in made.cells if one.missing]


def test_operations_are_those_of_the_rules_that_take_the_caller() -> None:
    made = built(
        with_rules(
            allow(
                "ratings",
                account(REVIEWS),
                operations=(operation(template("/a/{*}"), methods=("GET", "POST")),),
                key="1",
            ),
            allow("ratings", account(RATINGS), operations=(operation(prefix("/a")),), key="2"),
        )
    )
    assert cell(made, "reviews", "ratings").operations == ("GET /a/{*}", "POST /a/{*}")
    assert cell(made, "ratings", "ratings").operations == ("GET /a/**",)


def test_headers_hosts_and_gateways_of_an_operation_are_said() -> None:
    one = operation(headers=(("x-a", TextMatch("present")), ("x-b", TextMatch("prefix", "v"))), hosts=("*.shop",))
    made = built(with_rules(allow("ratings", account(REVIEWS), operations=(one,))))
    assert cell(made, "reviews", "ratings").operations == ("GET x-a: * x-b: v* host *.shop",)


def test_what_a_rule_of_deny_takes_out_is_said() -> None:
    admin = (operation(prefix("/admin"), methods=()),)
    made = built(
        with_rules(
            allow("ratings", account(REVIEWS), key="a"),
            allow("ratings", account(REVIEWS), operations=admin, key="d", effect="deny"),
        )
    )
    found = cell(made, "reviews", "ratings")
    assert (found.extent, found.operations, found.refused) == ("some", ("all else",), ("/admin/**",))
    assert cell(made, "ratings", "ratings").extent == "none"


def test_a_token_that_is_required_is_said_and_one_that_is_not_is_not_repeated() -> None:
    jwt = Jwt("https://issuer", ("shop",), require=True, claims=((("realm", "role"), ("admin",)),))
    required = replace(POLICY, authentications=(Authentication(SERVICES["reviews"], (jwt,)),))
    given_ = cell(built(required), "productpage", "reviews").operations
    assert given_ == ("GET /reviews/**, with a token of https://issuer",)
    optional = replace(POLICY, authentications=(Authentication(SERVICES["reviews"], (replace(jwt, require=False),)),))
    assert cell(built(optional), "productpage", "reviews").operations == ("GET /reviews/**",)
    claims = with_rules(allow("ratings", account(REVIEWS), claims=((("scope",), ("write",)),)))
    tokens = replace(claims, authentications=(Authentication(SERVICES["ratings"], (replace(jwt, require=False),)),))
    assert cell(built(tokens), "reviews", "ratings").operations == ("all, with a token of https://issuer",)


def test_networks_namespaces_and_other_trust_domains_of_rules_are_callers() -> None:
    sources = (
        Source(networks=(Network("10.9.0.0/16", ("10.9.0.0/17",)),)),
        Source(Identity("namespace", "shop")),
        account(Account("shop", "cart"), "td.example"),
        Source(Identity("trust-domain", trust_domain="td.other")),
    )
    permissive = replace(with_rules(allow("ratings", *sources)), exceptions=(MtlsException("bookinfo", "permissive"),))
    made = built(permissive)
    taken = {one.caller.name for one in made.cells if one.service.name == "ratings" and one.extent == "all"}
    assert taken == {"plain 10.9.0.0/16", "any of shop/", "spiffe://td.example/ns/shop/sa/cart", "any of td.other"}
    assert next(one.address for one in made.callers if one.name == "plain 10.9.0.0/16") == "10.9.128.0"


@pytest.mark.parametrize(
    ("network", "address"),
    [
        (Network("10.0.0.0/8"), "10.0.0.0"),
        (Network("10.0.0.0/8", ("10.0.0.0/9", "10.128.0.0/16")), "10.129.0.0"),
        (Network("10.0.0.7/32", ("10.0.0.7/32",)), ""),
        (Network("fd00::/8", ("fd00::/16",)), "fd01::"),
        (Network("10.0.0.0/24", ("10.0.0.0/25", "10.0.0.128/25")), ""),
    ],
)
def test_a_network_is_asked_by_an_address_that_is_not_excluded(network: Network, address: str) -> None:
    made = built(with_rules(allow("ratings", Source(networks=(network,)))))
    assert [one.address for one in made.callers if one.name.startswith("plain ")] == ([address] if address else [])


def test_a_port_of_connections_has_no_methods_and_paths() -> None:
    service = replace(SERVICES["ratings"], ports=(Port(9080, "http"), Port(3306, "tcp-db")))
    readings = {("bookinfo", "ratings", 3306): PortReading("connections", "its name is tcp-db")}
    world = replace(WORLD, services=(service,), readings=readings)
    listed = (
        Rule("a", "allow", service, (account(REVIEWS),), (operation(prefix("/ratings")),)),
        Rule("b", "allow", service, (account(REVIEWS),), (operation(methods=(), port=service.ports[1]),)),
    )
    made = matrix.build(security(replace(POLICY, rules=listed, services=(service,)), world))
    assert cell(made, "reviews", "ratings", 3306).extent == "all"
    assert cell(made, "reviews", "ratings", 9080).operations == ("GET /ratings/**",)


def test_what_is_only_audited_is_said() -> None:
    made = built(replace(POLICY, namespaces=(NamespacePolicy("bookinfo", "audit"),)))
    assert cell(made, "ratings", "reviews").extent == "all"
    assert cell(made, "ratings", "reviews").audited


def test_services_can_be_chosen() -> None:
    made = matrix.build(security(), [SERVICES["reviews"]])
    assert [service.name for service, _ in made.columns] == ["reviews"]


sources = st.sampled_from(
    [account(PRODUCTPAGE), account(REVIEWS), Source(Identity("mesh")), Source(Identity("namespace", "bookinfo"))]
)


@st.composite
def rules(draw: st.DrawFn) -> Rule:
    paths = st.sampled_from([exact("/a"), prefix("/a"), template("/a/{*}"), prefix("/b/c")])
    methods = st.sampled_from([(), ("GET",), ("GET", "POST")])
    listed = st.lists(st.tuples(paths, methods), max_size=2)
    return allow(
        draw(st.sampled_from(["reviews", "ratings"])),
        draw(sources),
        operations=tuple(operation(path, methods=method) for path, method in draw(listed)),
        key=f"r{draw(st.integers(0, 99))}",
        effect=draw(st.sampled_from(["allow", "allow", "deny"])),
    )


@given(st.lists(rules(), max_size=4))
def test_a_cell_says_all_none_or_some_as_its_requests_are_decided(listed: list[Rule]) -> None:
    made = built(with_rules(*listed))
    for one in made.cells:
        allowed = [answer.verdict.allowed for answer in one.answers]
        if one.extent == "all":
            assert all(allowed[: len(allowed) - len(one.calls)])
        assert (one.extent == "some") == bool(one.operations or one.refused)
        assert one.extent != "none" or not any(allowed[: len(allowed) - len(one.calls)])
    json.dumps(matrix.as_json(made))
    edges(made)


@settings(max_examples=100 if nightly() else 15)  # Each policy is asked hundreds of requests.
@given(linkerd.POLICIES)
def test_linkerd_has_no_objects_that_contradict_the_configuration(policy: Policy) -> None:
    world = linkerd.WORLD
    made = matrix.build(Security(policy, world, False, LINKERD_SECURITY, tuple(linkerd.written(policy))))
    assert not [answer for answer in made.answers if answer.contradicts]


@settings(max_examples=100 if nightly() else 15)
@given(istio.policies())
def test_istio_has_no_objects_that_contradict_the_configuration(policy: Policy) -> None:
    assume(not errors(ISTIO_SECURITY.check(policy, istio.WORLD)))
    objects = [item.manifest for item in ISTIO_SECURITY.write(policy, istio.WORLD).objects]
    readings = {
        (service.namespace, service.name, port.number): PortReading("connections", "its name")
        for service in istio.SERVICES
        for port in service.ports
        if port.name.startswith("tcp")
    }
    security = Security(policy, replace(istio.WORLD, readings=readings), False, ISTIO_SECURITY, tuple(objects))
    made = matrix.build(security)
    assert not [answer for answer in made.answers if answer.contradicts]


# -- with the objects of a cluster


class Reads(Plain):
    """The mesh of these tests, which ignores objects of other kinds."""

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        return super().verdict([item for item in objects if item["kind"] == "Policy"], world, request, mode)


def live(policy: Policy, *others: Manifest) -> Security:
    made = security(POLICY, live=policy)
    return replace(made, plane=Reads(), live=(*(made.live or ()), *others))


def test_the_matrix_of_a_cluster_is_by_its_objects_and_each_difference_is_said() -> None:
    made = matrix.build(live(with_rules(allow("ratings", account(REVIEWS)))))
    assert made.cluster
    assert cell(made, "reviews", "ratings").extent == "all"
    assert not cell(made, "reviews", "ratings").missing
    notes = access.diagnostics(made.answers)
    assert {note.code for note in notes} == {"MSH585"}
    assert all("bookinfo-reviews" in note.path for note in notes)


@pytest.mark.parametrize(
    "spec",
    [
        {"rules": [{"to": [{"operation": {"methods": ["GET"], "paths": ["/secret/*"]}}]}]},
        {"rules": [{"matches": [{"method": "GET", "path": {"type": "PathPrefix", "value": "/secret"}}]}]},
    ],
)
def test_what_only_objects_of_the_cluster_name_is_asked_for_too(spec: Manifest) -> None:
    policy = with_rules(allow("ratings", account(RATINGS), operations=(operation(prefix("/secret")),)))
    other = {"apiVersion": "x/v1", "kind": "Other", "metadata": {"name": "o", "namespace": "bookinfo"}, "spec": spec}
    found = cell(matrix.build(live(policy, other)), "ratings", "ratings")
    (operation_,) = found.operations
    assert operation_.startswith("GET /secret/")
    elsewhere = {**other, "metadata": {"name": "o", "namespace": "shop"}}
    assert cell(matrix.build(live(policy, elsewhere)), "ratings", "ratings").extent == "none"


def test_what_a_rule_names_is_not_said_again_for_the_object_that_is_written_for_it() -> None:
    other: Manifest = {"kind": "Other", "metadata": {"name": "o", "namespace": "bookinfo"}}
    other["spec"] = {"rules": [{"to": [{"operation": {"methods": ["GET"], "paths": ["/reviews", "/reviews/*"]}}]}]}
    assert cell(matrix.build(live(POLICY, other)), "productpage", "reviews").operations == ("GET /reviews/**",)


def test_a_rule_that_the_cluster_lacks_takes_nothing_out() -> None:
    asked_ = live(replace(POLICY, rules=()))
    found = cell(matrix.build(asked_), "productpage", "reviews")
    assert (found.extent, found.operations, found.refused) == ("none", (), ())
    half = (allow("reviews", account(PRODUCTPAGE), operations=(operation(exact("/x")),)),)
    other: Manifest = {"kind": "Other", "metadata": {"name": "o", "namespace": "bookinfo"}, "spec": {"paths": ["/x"]}}
    other["spec"]["methods"] = ["GET"]
    found = cell(matrix.build(live(replace(POLICY, rules=half), other)), "productpage", "reviews")
    assert (found.extent, found.operations, found.refused) == ("some", ("GET /x",), ())


def test_a_probe_that_is_open_to_everybody_anyway_is_no_operation_of_a_cluster() -> None:
    health = exact("/health")
    policy = with_rules(allow("ratings", account(RATINGS), operations=(operation(health),)))
    other: Manifest = {"kind": "Other", "metadata": {"name": "o", "namespace": "bookinfo"}}
    other["spec"] = {"matches": [{"method": "GET", "path": {"type": "Exact", "value": "/health"}}]}
    assert cell(matrix.build(live(policy, other)), "ratings", "ratings").extent == "none"


def test_rules_of_another_service_with_the_same_pods_hold_too() -> None:
    twin = replace(SERVICES["ratings"], name="twin")
    world = replace(WORLD, services=(*WORLD.services, twin))
    rule = Rule("t", "allow", twin, (account(REVIEWS),), (operation(prefix("/twin")),))
    policy = replace(with_rules(rule), services=world.services)
    assert cell(matrix.build(security(policy, world)), "reviews", "ratings").operations == ("GET /twin/**",)


# -- output


def test_the_json_is_stable_and_says_its_version() -> None:
    made = matrix.as_json(built())
    assert made["schemaVersion"] == 1
    assert list(made) == ["schemaVersion", "mesh", "decidedBy", "callers", "services", "access", "diagnostics"]
    assert made == json.loads(json.dumps(matrix.as_json(built())))
    entry = next(
        one for one in made["access"] if (one["caller"], one["service"]) == (NAME.format("reviews"), "ratings")
    )
    assert entry == {
        "caller": NAME.format("reviews"),
        "service": "ratings",
        "namespace": "bookinfo",
        "port": 9080,
        "access": "none",
        "operations": [],
        "except": [],
        "calls": [{"call": "GET /ratings/0", "allowed": False, "optional": False, "note": "v2, v3"}],
        "unused": False,
        "audited": [],
    }
    kinds = {one["name"]: one["kind"] for one in made["callers"]}
    assert kinds["gateway public"] == "gateway" and kinds["plain"] == "plain"


def test_the_table_has_a_row_for_each_caller_and_a_column_for_each_port() -> None:
    shown = printed(built())
    for word in ("gateway public", "plain", "any other", NAME.format("reviews"), "details", "bookinfo:9080"):
        assert word in shown
    assert "! GET /ratings/0" in shown
    assert "1 known call is denied" in shown


@pytest.mark.parametrize("width", [20, 60, 80, 300])
def test_a_narrow_terminal_gets_several_tables_with_all_columns(width: int) -> None:
    shown = printed(built(), width)
    assert max(map(len, shown.splitlines())) <= width
    if width >= 60:
        for name in SERVICES:
            assert name in shown


def test_a_stack_without_services_is_said_to_have_none() -> None:
    assert "knows no Service" in printed(matrix.build(security(Policy(), replace(WORLD, services=()))))


def test_the_picture_has_each_open_and_each_denied_edge() -> None:
    made = built()
    assert edges(made) == {
        ("gateway public", "productpage.bookinfo", "all"),
        ("productpage.bookinfo", "reviews.bookinfo", "some"),
        ("productpage.bookinfo", "details.bookinfo", "some"),
        ("reviews.bookinfo", "ratings.bookinfo", "denied"),
    }


def test_the_picture_has_one_arrow_for_all_who_may_do_the_same_and_those_of_known_calls() -> None:
    found = edges(built(OPEN))
    assert ("any other", "ratings.bookinfo", "all") in found
    assert ("reviews.bookinfo", "ratings.bookinfo", "all") in found
    assert not {source for source, target, _ in found if target == "ratings.bookinfo"} - {
        "any other",
        "reviews.bookinfo",
    }


def test_the_picture_shows_what_no_call_needs_and_callers_without_a_service() -> None:
    found = edges(built(with_rules(allow("ratings", account(Account("shop", "cart")), account(RATINGS)))))
    assert ("shop/cart", "ratings.bookinfo", "unused") in found
    assert ("ratings.bookinfo", "ratings.bookinfo", "unused") in found


def test_an_account_of_two_services_is_a_node_of_its_own() -> None:
    shared = tuple(replace(one, account="shared") for one in WORLD.workloads)
    world = replace(WORLD, workloads=shared)
    policy = replace(POLICY, rules=(allow("ratings", account(Account("bookinfo", "shared"))),))
    made = matrix.build(security(policy, world))
    text = graph.svg(made, world)
    assert 'data-from="bookinfo/shared" data-to="ratings.bookinfo"' in text


def test_the_gateway_is_no_account_twice() -> None:
    assert [one.name for one in built().callers if one.account == GATEWAY] == ["gateway public"]
