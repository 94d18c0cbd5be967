import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from components.manifests import Manifest, object_ref
from components.meshes import traffic_object
from stacks import transition as moving
from stacks.transition import Transition


def transition(planned: list[Manifest], live: list[Manifest]) -> Transition:
    return moving.transition([traffic_object(item) for item in planned], [traffic_object(item) for item in live])


def rule(service: str, *subsets: str) -> Manifest:
    spec = {"host": f"{service}.shop.svc.cluster.local", "subsets": [{"name": name} for name in subsets]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": place(service), "spec": spec}


def route(service: str, *destinations: tuple[str, str]) -> Manifest:
    parts = [
        {"destination": {"host": f"{host}.shop.svc.cluster.local", "subset": subset}} for host, subset in destinations
    ]
    spec = {"hosts": [f"{service}.shop.svc.cluster.local"], "http": [{"route": parts}]}
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": place(service), "spec": spec}


def http_route(service: str, *backends: str) -> Manifest:
    spec = {"rules": [{"backendRefs": [{"name": name, "port": 80} for name in backends]}]}
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": place(service),
        "spec": spec,
    }


def service(name: str) -> Manifest:
    return {"apiVersion": "v1", "kind": "Service", "metadata": place(name), "spec": {"ports": [{"port": 80}]}}


def place(name: str) -> dict[str, Any]:
    return {"name": name, "namespace": "shop"}


def subsets(item: Manifest) -> list[str]:
    return [subset["name"] for subset in item["spec"]["subsets"]]


def test_new_versions_and_weights_need_nothing_before_pulumi() -> None:
    live = [rule("a", "v1"), route("a", ("a", "v1"))]
    assert transition([rule("a", "v1", "v2"), route("a", ("a", "v1"), ("a", "v2"))], live) == Transition()
    assert transition(live, live) == Transition()


def test_a_route_leaves_a_subset_before_it_goes() -> None:
    live = [rule("a", "v1", "v2"), route("a", ("a", "v1"), ("a", "v2"))]
    planned = [rule("a", "v1"), route("a", ("a", "v1"))]
    assert transition(planned, live) == Transition(moved=(planned[1],))


def test_a_version_that_replaces_another_is_there_before_the_route_moves_and_the_old_one_still_is() -> None:
    live = [rule("a", "v1"), route("a", ("a", "v1"))]
    planned = [rule("a", "v2"), route("a", ("a", "v2"))]
    steps = transition(planned, live)
    (both,) = steps.added
    assert sorted(subsets(both)) == ["v1", "v2"]
    assert steps.moved == (planned[1],)
    assert subsets(planned[0]) == ["v2"]


def test_routes_of_other_services_leave_too() -> None:
    live = [rule("a", "v1", "v2"), route("b", ("a", "v2")), route("c", ("a", "v1"))]
    planned = [rule("a", "v1"), route("b", ("a", "v1")), route("c", ("a", "v1"))]
    assert transition(planned, live).moved == (planned[1],)


def test_a_route_that_is_no_longer_wanted_goes_before_what_it_names() -> None:
    live = [rule("a", "v1"), route("a", ("a", "v1")), rule("b", "v1"), route("b", ("b", "v1"))]
    assert transition(live[2:], live) == Transition(removed=(object_ref(live[1]),))


def test_per_version_services_count_as_destinations() -> None:
    live = [service("a-v1"), service("a-v2"), http_route("a", "a-v1", "a-v2")]
    planned = [service("a-v1"), service("a-v3"), http_route("a", "a-v1", "a-v3")]
    assert transition(planned, live) == Transition(added=(planned[1],), moved=(planned[2],))


def test_a_policy_of_a_destination_alone_loses_nothing() -> None:
    old = rule("a", "v1")
    new = copy.deepcopy(old)
    new["spec"]["trafficPolicy"] = {"connectionPool": {}}
    before, after, wider = map(traffic_object, (old, new, rule("a", "v1", "v2")))
    assert moving.lost([before], [after]) == set()
    assert moving.lost([wider], [before]) == {("a.shop.svc.cluster.local", "v2")}


VERSIONS = st.lists(st.sampled_from(["v1", "v2", "v3"]), min_size=1, unique=True)
NAMES = ("a", "b", "c")


@st.composite
def stacks(draw: st.DrawFn) -> list[Manifest]:
    """Services with versions, and routes that name only what there is."""
    versions = {name: draw(VERSIONS) for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, unique=True))}
    offers = [(name, version) for name, found in versions.items() for version in found]
    targets = {
        name: draw(st.lists(st.sampled_from(offers), min_size=1, unique=True)) for name in NAMES if draw(st.booleans())
    }
    rules = [rule(name, *found) for name, found in versions.items()]
    return [*rules, *(route(name, *found) for name, found in targets.items())]


@given(live=stacks(), planned=stacks(), in_releases=st.booleans())
def test_at_no_moment_a_route_names_what_is_not_there(
    live: list[Manifest], planned: list[Manifest], in_releases: bool
) -> None:
    now = {object_ref(item): item for item in live}
    wanted = {object_ref(item): item for item in planned}

    def holds() -> None:
        objects = [traffic_object(item) for item in now.values()]
        missing = {name for item in objects for name in item.names} - {one for item in objects for one in item.offers}
        assert missing == set()

    def deleted(*kinds: str) -> None:
        for key in [key for key in now if key.kind in kinds and key not in wanted]:
            del now[key]
            holds()

    steps = transition(planned, live)
    for item in (*steps.added, *steps.moved):
        now[object_ref(item)] = item
        holds()
    for gone in steps.removed:
        now.pop(gone)
        holds()
    # Then Pulumi: destinations first. A release deletes at once, single resources are deleted last.
    for item in planned:
        now[object_ref(item)] = item
        if in_releases and item["kind"] == "DestinationRule":
            deleted("DestinationRule")
        holds()
    deleted("VirtualService")
    deleted("DestinationRule")
    assert now == wanted
