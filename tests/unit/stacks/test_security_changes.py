"""What a run newly denies and opens, by a mesh whose objects list the accounts that may call a Service."""

from collections.abc import Sequence

import pytest

from components.manifests import Manifest, manifest
from components.security.model import Account, Mode, Operation, Policy, Rule, Source
from components.security.paths import prefix
from components.security.plane import AccessRequest, Guarded, SecurityPlane, Verdict
from components.security.world import Call, Workload, World
from components.traffic import Port, Service
from components.traffic.proxies import PortReading
from stacks import security_changes
from stacks.security import Secured
from stacks.security_changes import Rules, after, changes, report

CART, PAY = (
    Service(name, "shop", (Port(80, "http", target=8080),), selector=(("app", name),)) for name in ("cart", "pay")
)
WEB, BOT, DOOR = Account("shop", "web"), Account("shop", "bot"), Account("edge", "door")
CALLS = (
    Call(WEB, "cart", "shop", 80, "POST", example="/items?all=1"),
    Call(None, "pay", "shop", 80, example="/pay"),
)
WORLD = World(
    services=(CART, PAY),
    workloads=tuple(Workload(one.name, one.namespace, "Deployment", one.name) for one in (WEB, BOT)),
    calls=CALLS,
    gateways={"public": DOOR},
)
CLOSED = ("nobody",)


class Mesh(SecurityPlane):
    """An object closes the Service of its name to all but the accounts that it lists, for one path or all."""

    kinds = (("v1", "Guard"),)

    def write(self, policy: Policy, world: World) -> Guarded:
        raise NotImplementedError

    def verdict(self, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        del world
        if mode == "strict" and request.caller is None:
            return Verdict(False)
        guards = [item["spec"] for item in objects if item["metadata"]["name"] == request.service.name]
        caller = request.caller.name if request.caller else ""
        return Verdict(all(caller in spec["allow"] and spec["path"] in ("", request.path) for spec in guards))


def guard(service: str, *allow: str, path: str = "") -> Manifest:
    return manifest("v1", "Guard", service, "shop", {"allow": list(allow), "path": path})


def changed(
    before: Sequence[Manifest],
    then: Sequence[Manifest],
    modes: tuple[Mode, Mode] = ("strict", "strict"),
    secured: Secured | None = None,
) -> set[tuple[str, str, str, bool, bool]]:
    made = secured or Secured(Policy(), WORLD)
    rules = (Rules(before, modes[0]), Rules(then, modes[1]))
    found, complete = changes(Mesh(), made, *rules, [CART, PAY])
    assert complete
    return {
        (
            one.caller.name if one.caller else "",
            one.service.name,
            " ".join(map(str, one.asks)),
            one.allowed,
            one.called,
        )
        for one in found
    }


def test_what_a_guard_closes_is_denied_to_every_caller_and_a_known_call_among_them_is_marked() -> None:
    assert changed([], [guard("cart", "bot")]) == {
        ("web", "cart", "POST /items", False, True),
        ("door", "cart", "POST /items", False, False),
    }


def test_what_a_guard_no_longer_closes_is_opened() -> None:
    assert changed([guard("cart", "web", "bot")], []) == {("door", "cart", "POST /items", True, False)}


def test_a_guard_in_place_of_another_changes_what_only_one_of_them_allows() -> None:
    assert changed([guard("cart", "web", "bot")], [guard("cart", "web", "door")]) == {
        ("bot", "cart", "POST /items", False, False),
        ("door", "cart", "POST /items", True, False),
    }


def test_nothing_changes_if_the_objects_are_there_as_they_will_be() -> None:
    live = {**guard("cart", *CLOSED), "status": {"observed": True}}
    live["spec"] = {**live["spec"], "default": "of the API server"}
    assert changed([live], [guard("cart", *CLOSED)]) == set()


def test_only_services_of_namespaces_whose_objects_change_are_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: set[str] = set()
    decide = Mesh.verdict

    def verdict(self: Mesh, objects: Sequence[Manifest], world: World, request: AccessRequest, mode: Mode) -> Verdict:
        asked.add(request.service.namespace)
        return decide(self, objects, world, request, mode)

    monkeypatch.setattr(Mesh, "verdict", verdict)
    bank = Service("vault", "bank", (Port(80),))
    rules = (Rules([], "strict"), Rules([guard("cart", *CLOSED)], "strict"))
    changes(Mesh(), Secured(Policy(), World(workloads=WORLD.workloads, control_plane="mesh")), *rules, [CART, bank])
    assert asked == {"shop"}
    everywhere = {**guard("any"), "metadata": {"name": "any", "namespace": "mesh"}}
    rules = (Rules([], "strict"), Rules([everywhere], "strict"))
    changes(Mesh(), Secured(Policy(), World(workloads=WORLD.workloads, control_plane="mesh")), *rules, [CART, bank])
    assert asked == {"shop", "bank"}


def test_the_mode_of_the_mesh_closes_it_to_callers_without_an_identity() -> None:
    assert changed([], [], ("permissive", "strict")) == {
        ("", "cart", "POST /items", False, False),
        ("", "pay", "GET /pay", False, False),
    }


def test_a_call_of_users_is_lost_only_if_none_of_the_ways_in_is_left() -> None:
    marked = {
        one[0] for one in changed([], [guard("pay", "door", "web", "bot")], ("permissive", "permissive")) if one[4]
    }
    assert marked == set()
    marked = {one[0] for one in changed([], [guard("pay", "web", "bot")], ("permissive", "permissive")) if one[4]}
    assert marked == {"door", ""}


def test_requests_that_only_a_rule_names_are_tried_too() -> None:
    operation = Operation(methods=("PUT",), paths=(prefix("/orders"),))
    rule = Rule("allow.cart[0]", "allow", CART, (Source(),), (operation,))
    secured = Secured(Policy(rules=(rule,)), WORLD)
    opened = changed([guard("cart", *CLOSED)], [guard("cart", "web", path="/orders")], secured=secured)
    assert opened == {("web", "cart", "PUT /orders", True, False)}


def test_a_rule_about_a_known_call_adds_no_request_of_its_own() -> None:
    operation = Operation(methods=("POST",), paths=(prefix("/items"),))
    rule = Rule("allow.cart[0]", "allow", CART, (Source(),), (operation,))
    closed = changed([], [guard("cart", *CLOSED)], secured=Secured(Policy(rules=(rule,)), WORLD))
    assert {asks for _, _, asks, _, _ in closed} == {"POST /items"}


def test_the_rule_that_is_proposed_opens_the_call_that_is_known() -> None:
    calls = (Call(BOT, "cart", "shop", 80, "GET", example="/a"), Call(WEB, "cart", "shop", 80, "POST", example="/z"))
    world = World(services=(CART,), workloads=WORLD.workloads, calls=calls)
    rules = (Rules([], "strict"), Rules([guard("cart", "bot")], "strict"))
    warning, _ = report(changes(Mesh(), Secured(Policy(), world), *rules, [CART])[0], world, complete=True)
    assert '"paths": ["/z"]' in warning.remedy


def test_a_report_names_the_first_of_many_changes_and_counts_the_others() -> None:
    count = security_changes.MOST_NAMED + 3
    services = [Service(f"s{number}", "shop", (Port(80),)) for number in range(count)]
    rules = (Rules([], "strict"), Rules([guard(one.name, *CLOSED) for one in services], "strict"))
    secured = Secured(Policy(), World(workloads=WORLD.workloads))
    (note,) = report(*_only(changes(Mesh(), secured, *rules, services)), complete=True)
    assert len(note.remedy.splitlines()) == 1 + security_changes.MOST_NAMED + 1
    assert note.remedy.splitlines()[-1] == "denied: 3 more"


def _only(result: tuple[list[security_changes.Change], bool]) -> tuple[list[security_changes.Change], World]:
    return result[0], WORLD


def test_a_port_of_connections_is_asked_for_a_connection() -> None:
    world = World(
        services=(CART,),
        workloads=WORLD.workloads,
        readings={("shop", "cart", 80): PortReading("connections", "its name is tcp")},
    )
    assert ("web", "cart", "a connection", False, False) in changed(
        [], [guard("cart", *CLOSED)], secured=Secured(Policy(), world)
    )


def test_with_too_many_pairs_only_known_calls_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(security_changes, "MOST_VERDICTS", 3)
    rules = (Rules([], "strict"), Rules([guard("cart", *CLOSED), guard("pay", *CLOSED)], "strict"))
    found, complete = changes(Mesh(), Secured(Policy(), WORLD), *rules, [CART, PAY])
    assert not complete
    assert {(one.caller, one.service.name) for one in found} == {(WEB, "cart"), (DOOR, "pay")}
    assert "too many pairs" in report(found, WORLD, complete=complete)[-1].message
    assert "changes nothing. There are too many pairs" in report([], WORLD, complete=False)[-1].message


def test_the_report_lists_what_changes_and_warns_of_known_calls_with_the_rule_that_opens_them() -> None:
    rules = (Rules([guard("pay", *CLOSED)], "strict"), Rules([guard("cart", *CLOSED)], "strict"))
    found, complete = changes(Mesh(), Secured(Policy(), WORLD), *rules, [CART, PAY])
    warning, note = report(found, WORLD, complete=complete)
    assert (warning.code, warning.severity) == ("MSH571", "warning")
    assert warning.message == "This run denies calls that the applications make: cart.shop:80 (POST /items) from web."
    assert warning.remedy.splitlines()[1] == (
        '{"cart": [{"from": [{"serviceAccount": "web"}], "to": [{"methods": ["POST"], "paths": ["/items"]}]}]}'
    )
    assert (note.code, note.severity) == ("MSH570", "info")
    assert note.message.startswith("Of the known callers of a port, this run denies 3 and lets in 3,")
    assert note.remedy.splitlines()[1:] == [
        "denied: cart.shop:80 (POST /items) from web, bot, edge/door",
        "opened: pay.shop:80 (GET /pay) from web, bot, edge/door",
    ]
    assert report([], WORLD, complete=True) == []


def test_objects_of_others_stay_and_those_of_the_stack_go_unless_they_are_planned() -> None:
    theirs, gone = guard("theirs"), guard("gone")
    live = guard("cart", "web")
    live["metadata"] = {**live["metadata"], "creationTimestamp": "2026-01-01T00:00:00Z"}
    planned, new = guard("cart"), guard("new")
    result = after([planned, new], [live, theirs, gone], lambda item: item["metadata"]["name"] in ("cart", "gone"))
    assert [item["metadata"]["name"] for item in result] == ["cart", "new", "theirs"]
    assert result[0]["spec"] == planned["spec"]
    assert result[0]["metadata"]["creationTimestamp"] == "2026-01-01T00:00:00Z"
