"""`meshup explain --from`, its pure part: who calls, who decides, what opens it, and where the route leads."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from components.meshes import TARGETS
from components.security.evaluate import decide
from components.security.model import (
    Account,
    Authentication,
    Jwt,
    MtlsException,
    NamespacePolicy,
    Network,
    Policy,
    Source,
)
from components.security.paths import exact
from components.security.world import Workload
from components.traffic import compile_routes, parse
from components.traffic.model import Port
from operate import access, callers
from operate.access import Asked, Security
from operate.callers import OTHER, PLAIN, Caller
from tests.unit.operate.security import (
    GATEWAY,
    POLICY,
    PRODUCTPAGE,
    RATINGS,
    REVIEWS,
    SERVICES,
    WORLD,
    account,
    allow,
    operation,
    security,
    with_rules,
    written,
)


def caller(text: str, decides: Security | None = None, near: str = "bookinfo", **more: object) -> Caller:
    found, faults = callers.caller_of(text, decides or security(), near, **more)  # type: ignore[arg-type]
    assert found is not None, faults
    return found


def asked(
    text: str, service: str, path: str = "/", decides: Security | None = None, **more: object
) -> access.Explanation:
    """Return the explanation of a request to the one port of a Service."""
    decides = decides or security()
    who = caller(text, decides) if text else PLAIN
    request = Asked(path=path, **more)  # type: ignore[arg-type]
    (entry,), _ = access.ask(decides, who, SERVICES[service], SERVICES[service].ports, request)
    return entry


# -- who calls


@pytest.mark.parametrize(
    ("text", "account"),
    [
        ("bookinfo/bookinfo-productpage", PRODUCTPAGE),
        ("bookinfo-productpage", PRODUCTPAGE),
        ("bookinfo/productpage-v1", PRODUCTPAGE),
        ("bookinfo/productpage", PRODUCTPAGE),
        ("reviews", REVIEWS),
        ("gateway:public", GATEWAY),
        ("spiffe://cluster.local/ns/bookinfo/sa/bookinfo-ratings", RATINGS),
        ("spiffe://td.example/ns/shop/sa/cart", Account("shop", "cart")),
    ],
)
def test_a_caller_is_named_by_account_workload_service_gateway_or_spiffe_name(text: str, account: Account) -> None:
    found = caller(text)
    assert found.account == account
    assert found.trust_domain == ("td.example" if "td.example" in text else "")


def test_the_account_of_a_rule_is_a_caller_whatever_runs_under_it() -> None:
    assert caller("shop/cart", security(with_rules(allow("ratings", account(Account("shop", "cart")))))).account


def test_a_plain_caller_has_no_identity_and_may_have_an_address() -> None:
    assert callers.caller_of("", security(), "bookinfo") == (PLAIN, [])
    found = caller("bookinfo/reviews", plain=True, address="10.9.0.7")
    assert (found.account, found.kind, found.address) == (None, "plain", "10.9.0.7")


@pytest.mark.parametrize(
    ("text", "guess"),
    [
        ("bookinfo/productpag", "Did you mean 'bookinfo/productpage'?"),
        ("bokinfo-reviews", "Did you mean 'bookinfo/bookinfo-reviews'?"),
        ("gateway:publik", "Did you mean 'gateway:public'?"),
        ("Bad_Name", ""),
        ("a/b/c", ""),
        ("/", ""),
        ("bookinfo/", ""),
        ("gateway:", ""),
        ("\x1b[31m", ""),
    ],
)
def test_a_caller_that_is_not_known_is_refused_with_the_nearest(text: str, guess: str) -> None:
    found, (fault,) = callers.caller_of(text, security(), "bookinfo")
    assert found is None
    assert (fault.code, fault.path, fault.severity) == ("MSH580", "--from", "error")
    assert guess in fault.remedy


def test_an_account_in_a_namespace_of_which_nothing_is_known_is_decided_with_a_warning() -> None:
    found, (note,) = callers.caller_of("shop/cart", security(), "bookinfo")
    assert found and found.account == Account("shop", "cart")
    assert (note.code, note.severity) == ("MSH580", "warning")
    everything = replace(security(), complete=True)
    assert callers.caller_of("shop/cart", everything, "bookinfo")[0] is None


def test_a_name_that_stands_for_several_accounts_is_refused_with_all_of_them() -> None:
    further = Workload("w", "shop", "Deployment", "bookinfo-reviews")
    twice = replace(security(), world=replace(WORLD, workloads=(*WORLD.workloads, further)))
    found, (fault,) = callers.caller_of("bookinfo-reviews", twice, "elsewhere")
    assert found is None
    assert "bookinfo/bookinfo-reviews, shop/bookinfo-reviews" in fault.message
    assert caller("bookinfo-reviews", twice).account == REVIEWS, "the namespace of the Service comes first"


def test_an_address_that_is_none_is_refused() -> None:
    found, (fault,) = callers.caller_of("", security(), "bookinfo", address="10.9.0.300")
    assert (found, fault.code, fault.path) == (None, "MSH017", "--address")


@given(st.text(max_size=30), st.text(max_size=12))
def test_no_name_or_address_of_a_caller_ends_in_an_exception(text: str, address: str) -> None:
    found, faults = callers.caller_of(text, security(), "bookinfo", address=address)
    assert found or faults
    service, faults = callers.service_of(text, security(), ())
    assert service or faults


# -- what is called


@pytest.mark.parametrize("text", ["reviews", "reviews.bookinfo", "reviews.bookinfo.svc.cluster.local"])
def test_a_service_is_named_with_or_without_its_namespace(text: str) -> None:
    assert callers.service_of(text, security(), ()) == (SERVICES["reviews"], [])


def test_a_service_that_is_not_known_is_refused_with_the_nearest() -> None:
    found, (fault,) = callers.service_of("reviewz", security(), ())
    assert (found, fault.code, fault.remedy) == (None, "MSH581", "Did you mean 'reviews'?")


def test_a_name_of_several_services_needs_the_namespace() -> None:
    other = replace(SERVICES["reviews"], namespace="shop")
    both = replace(security(), world=replace(WORLD, services=(*WORLD.services, other)))
    found, (fault,) = callers.service_of("reviews", both, ())
    assert found is None
    assert "one of reviews.bookinfo, reviews.shop" in fault.allowed
    assert callers.service_of("reviews.shop", both, ())[0] == other


def test_a_port_is_that_of_the_service_not_of_its_pods() -> None:
    web = replace(SERVICES["reviews"], ports=(Port(80, "http", target=8080), Port(81, "tcp-db")))
    assert callers.ports_of(web, "80")[0] == callers.ports_of(web, "http")[0] == web.ports[:1]
    assert callers.ports_of(web, "")[0] == web.ports
    found, (fault,) = callers.ports_of(web, "8080")
    assert (found, fault.code) == ((), "MSH582")
    assert fault.remedy == "8080 is the port of the pods: write that of the Service, 80."
    assert fault.allowed == "one of 80 (http), 81 (tcp-db)"


def test_claims_are_read_from_text_or_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "claims.json"
    file.write_text('{"iss": "me"}')
    assert callers.claims_of(str(file)) == callers.claims_of('{"iss": "me"}') == ({"iss": "me"}, [])
    assert callers.claims_of("") == (None, [])


@pytest.mark.parametrize("text", ["nothing.json", "{", '["a"]', "/", "[" * 70_000, "[" * 9_000, "\x00"])
def test_claims_that_are_none_are_refused_without_repeating_them(text: str) -> None:
    found, (fault,) = callers.claims_of(text)
    assert (found, fault.code, fault.value) == (None, "MSH583", None)


# -- who decides


def test_an_allowed_request_names_the_rule_and_the_object() -> None:
    entry = asked("bookinfo/productpage", "reviews", "/reviews/1")
    assert entry["allowed"] and entry["policy"]["rule"] == "allow.reviews[0]"
    assert (entry["object"], entry["part"]) == ("Policy/bookinfo/reviews", "rules[0]")
    assert entry["answer"] is entry["opening"] is entry["contradiction"] is None
    assert "planned" not in entry
    json.dumps(entry)


def test_a_denied_request_names_its_answer_and_the_smallest_rule_that_opens_it() -> None:
    entry = asked("bookinfo/ratings", "reviews", "/reviews/1")
    assert entry["answer"] == {
        "connectionClosed": False,
        "status": 403,
        "body": "RBAC: access denied",
        "grpcStatus": None,
    }
    rule = {"from": [{"serviceAccount": "bookinfo-ratings"}], "to": [{"methods": ["GET"], "paths": ["/reviews/1"]}]}
    assert entry["opening"]["configuration"] == {"allow": {"reviews": [rule]}}


def test_a_call_of_the_application_is_opened_with_all_its_paths() -> None:
    opening = asked("bookinfo/reviews", "ratings", "/ratings/7")["opening"]["configuration"]
    (rule,) = opening["allow"]["ratings"]
    assert rule["to"] == [{"methods": ["GET"], "paths": [{"template": "/ratings/{*}"}]}]
    (other,) = asked("bookinfo/reviews", "ratings", "/health")["opening"]["configuration"]["allow"]["ratings"]
    assert other["to"][0]["paths"] == ["/health"]


def test_a_plain_caller_is_opened_by_an_exception_and_a_rule_together() -> None:
    entry = asked("", "ratings", "/x")
    assert entry["answer"]["connectionClosed"]
    opened = entry["opening"]["configuration"]
    assert opened["mtls"]["exceptions"][0]["service"] == "ratings"
    exception = MtlsException("bookinfo", "permissive", SERVICES["ratings"])
    rule = allow("ratings", Source(), operations=(operation(exact("/x")),), key="new")
    assert opened["allow"]["ratings"][0]["from"] == [{"everybody": True}]
    changed = replace(with_rules(rule), exceptions=(exception,))
    assert asked("", "ratings", "/x", security(changed))["allowed"]
    assert "--address" in entry["opening"]["advice"]


def test_with_an_address_a_plain_caller_is_opened_for_that_address_alone() -> None:
    decides = security()
    who = caller("", decides, address="10.9.0.7")
    (entry,), _ = access.ask(decides, who, SERVICES["ratings"], SERVICES["ratings"].ports, Asked())
    (rule,) = entry["opening"]["configuration"]["allow"]["ratings"]
    assert rule["from"] == [{"cidr": "10.9.0.7/32"}]
    assert "--address" not in entry["opening"]["advice"]


def test_a_rule_of_deny_is_not_opened_by_another_rule() -> None:
    denies = with_rules(allow("reviews", account(PRODUCTPAGE), key="deny.reviews[0]", effect="deny"))
    opening = asked("bookinfo/productpage", "reviews", "/reviews/1", security(denies))["opening"]
    assert opening == {"configuration": None, "advice": "The rule deny.reviews[0] denies it: narrow or remove that."}


def test_a_token_that_is_missing_is_named_with_what_it_must_have() -> None:
    jwt = Jwt("https://issuer", ("shop",), require=True, claims=((("scope",), ("write",)),))
    tokens = replace(POLICY, authentications=(Authentication(SERVICES["reviews"], (jwt,)),))
    entry = asked("bookinfo/productpage", "reviews", "/reviews/1", security(tokens))
    assert entry["opening"]["advice"] == "Send a token of https://issuer with aud shop, scope write."
    claims = {"iss": "https://issuer", "aud": "shop", "scope": "read write"}
    assert asked("bookinfo/productpage", "reviews", "/reviews/1", security(tokens), claims=claims)["allowed"]
    unread = asked("bookinfo/productpage", "reviews", "/reviews/1", security(tokens), claims={"iss": "other"})
    assert not unread["allowed"]


def test_what_is_only_audited_is_named() -> None:
    audits = replace(POLICY, namespaces=(NamespacePolicy("bookinfo", "audit"),))
    entry = asked("bookinfo/ratings", "reviews", "/reviews/1", security(audits))
    assert entry["allowed"] and entry["policy"]["audited"]


def test_objects_that_contradict_the_configuration_are_a_defect_and_said_so() -> None:
    wrong = replace(security(), objects=(written(Policy()),))
    who = caller("bookinfo/ratings", wrong)
    entries, answers = access.ask(wrong, who, SERVICES["reviews"], SERVICES["reviews"].ports, Asked())
    (fault,) = access.diagnostics(answers)
    assert (fault.code, fault.severity) == ("MSH584", "error")
    assert "says 'deny'" in entries[0]["contradiction"]
    assert "DEFECT" in printed(entries)


def test_the_cluster_decides_and_a_difference_to_the_plan_is_said() -> None:
    live = security(live=with_rules(allow("ratings", account(REVIEWS))))
    who = caller("bookinfo/reviews", live)
    (entry,), answers = access.ask(live, who, SERVICES["ratings"], SERVICES["ratings"].ports, Asked())
    assert entry["allowed"] and not entry["planned"]["allowed"] and entry["differs"]
    assert not entry["policy"]["allowed"] and entry["contradiction"] is None
    (note,) = access.diagnostics(answers)
    assert (note.code, note.severity) == ("MSH585", "warning")
    assert "The cluster decides otherwise" in printed([entry])


callers_of_bookinfo = st.sampled_from([PRODUCTPAGE, REVIEWS, RATINGS, GATEWAY, OTHER.account, Account("shop", "cart")])


@given(callers_of_bookinfo, st.sampled_from(sorted(SERVICES)), st.sampled_from(["/", "/reviews/1", "/a/b"]))
def test_what_opens_a_request_opens_it_and_nothing_for_another_caller(who: Account, service: str, path: str) -> None:
    decides = security()
    request = Asked(path=path).of(SERVICES[service], SERVICES[service].ports[0], "http")
    answer = decides.answer(replace(request, caller=who))
    if answer.policy.allowed:
        return
    (entry,) = access.opening(decides, answer)["configuration"]["allow"].values()
    paths = tuple(access.pattern_of(one) for one in entry[0]["to"][0]["paths"])
    source = entry[0]["from"][0]
    assert source in ({"gateway": "public"}, {"serviceAccount": who.name}, {"serviceAccount": str(who)})
    opened = with_rules(allow(service, account(who), operations=(operation(*paths),), key="new"))
    assert decide(opened, WORLD, answer.request).allowed
    stranger = replace(answer.request, caller=Account("else", "where"))
    assert decide(opened, WORLD, stranger).allowed == decide(POLICY, WORLD, stranger).allowed


# -- where the route leads

ROUTE = {
    "reviews": {
        "rules": [
            {"name": "old", "match": {"path": {"prefix": "/old"}}, "rewrite": {"prefix": "/reviews"}},
            {"name": "away", "match": {"path": "/away"}, "backends": [{"service": "ratings", "weight": 100}]},
            {"name": "gone", "match": {"path": "/gone"}, "redirect": {"path": "/x"}},
            {"name": "marked", "match": {"path": "/marked"}, "headers": {"request": {"set": {"x-a": "b"}}}},
            {"name": "v2", "match": {"source": {"app": "productpage"}}, "backends": {"v2": 100}},
            {"name": "rest", "backends": {"v1": 100}},
        ]
    }
}


def routed() -> Security:
    routes, faults = parse(ROUTE, "meshup:traffic", list(SERVICES.values()))
    assert not faults
    compilation = compile_routes(routes, "istio", TARGETS, list(SERVICES.values()))
    assert compilation.planned, compilation.diagnostics
    return replace(security(), routes=compilation.planned)


def test_the_route_takes_the_request_by_the_labels_of_the_caller() -> None:
    route = asked("bookinfo/productpage", "reviews", "/reviews/1", routed())["route"]
    assert (route["key"], route["rule"]) == ("reviews", "v2")
    assert asked("bookinfo/ratings", "reviews", "/reviews/1", routed())["route"]["rule"] == "rest"


def test_a_request_that_the_route_rewrites_is_decided_as_it_arrives() -> None:
    entry = asked("bookinfo/productpage", "reviews", "/old/1", routed())
    (arrival,) = entry["arrives"]
    assert (arrival["path"], arrival["because"]) == ("/reviews/1", "is rewritten to /reviews/1")
    assert (entry["allowed"], arrival["allowed"]) == (False, True)


def test_another_service_that_the_route_sends_to_decides_too() -> None:
    (arrival,) = asked("bookinfo/productpage", "reviews", "/away", routed())["arrives"]
    assert (arrival["service"], arrival["allowed"], arrival["because"]) == ("ratings", False, "goes to ratings:9080")
    assert "goes to ratings:9080: denied" in printed([asked("bookinfo/productpage", "reviews", "/away", routed())])


@pytest.mark.parametrize(("path", "count"), [("/gone", 0), ("/marked", 1), ("/reviews/1", 0)])
def test_nothing_else_arrives_than_what_the_route_changes(path: str, count: int) -> None:
    assert len(asked("bookinfo/productpage", "reviews", path, routed())["arrives"]) == count


@pytest.mark.parametrize(("text", "said"), [("gateway:public", "routes of its own"), ("", "goes by no route")])
def test_a_gateway_and_a_plain_caller_do_not_go_by_the_routes_of_the_mesh(text: str, said: str) -> None:
    route = asked(text, "reviews", "/reviews/1", routed())["route"]
    assert route["key"] is None and said in route["reason"]


# -- for people


def printed(entries: list[access.Explanation]) -> str:
    console = Console(width=300, file=StringIO())
    access.show(entries, console)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_people_read_decision_rule_object_answer_and_opening() -> None:
    shown = printed([asked("bookinfo/reviews", "ratings", "/ratings/0")])
    assert "bookinfo/bookinfo-reviews -> ratings.bookinfo:9080" in shown
    assert "GET /ratings/0" in shown
    assert "status 403, body 'RBAC: access denied'" in shown
    assert "- serviceAccount: bookinfo-reviews" in shown
    assert "none: the connection is closed" in printed([asked("", "ratings")])


def test_markup_in_a_path_is_text() -> None:
    assert "GET /[red]x" in printed([asked("bookinfo/reviews", "ratings", "/[red]x")])


def test_a_network_of_a_rule_is_asked_by_address() -> None:
    permissive = replace(
        with_rules(allow("ratings", Source(networks=(Network("10.9.0.0/16"),)))),
        exceptions=(MtlsException("bookinfo", "permissive"),),
    )
    decides = security(permissive)
    for address, expected in (("10.9.0.7", True), ("10.8.0.7", False)):
        who = caller("", decides, address=address)
        (entry,), _ = access.ask(decides, who, SERVICES["ratings"], SERVICES["ratings"].ports, Asked())
        assert entry["allowed"] is expected
