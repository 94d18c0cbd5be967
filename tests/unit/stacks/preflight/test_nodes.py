"""Nodes: what keeps pods of the plan from running, and whether there is room for them."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.manifests import Manifest
from stacks.cluster import Resource
from stacks.preflight import Probes
from stacks.preflight.nodes import NODES, ROOM, free, requests, unplaced
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.preflight.subjects import NOW, found, node, subject

DEPLOYMENT = {("apps/v1", "Deployment"): Resource("deployments", True)}


def tainted(name: str) -> Manifest:
    made = node(name)
    return {**made, "spec": {"taints": [{"key": "dedicated", "effect": "NoSchedule"}]}}


def istiod(replicas: int = 1, cpu: str = "500m") -> Manifest:
    containers = [{"name": "discovery", "resources": {"requests": {"cpu": cpu, "memory": "1Gi"}}}]
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "istiod", "namespace": "istio-system"},
        "spec": {"replicas": replicas, "template": {"spec": {"containers": containers}}},
    }


def test_good_nodes_have_nothing_against_the_plan() -> None:
    assert found(NODES, subject(node("one"), node("two"), rendered=[istiod(2)])) == []
    assert found(NODES, subject()) == []


FAULTS: dict[str, tuple[list[Manifest], list[tuple[str, str]]]] = {
    "not ready": ([node(), node("two", ready="Unknown")], [("MSH720", "Node/two")]),
    "tainted": ([tainted("one")], [("MSH721", "Node")]),
    "an old kubelet": ([node(kubeletVersion="v1.30.9")], [("MSH722", "Node/one")]),
    "another architecture": ([node(), node("two", architecture="s390x")], [("MSH724", "Node/two")]),
    "modules not loaded": ([node(osImage="Red Hat Enterprise Linux 9.4 (Plow)")], [("MSH725", "Node/one")]),
    "an older one of the same": ([node(osImage="Red Hat Enterprise Linux 8.9 (Ootpa)")], []),
    "mixed kubelets": ([node(kubeletVersion="v1.32.0"), node("two")], [("MSH723", "Node")]),
    "a kubelet of another kind": ([node(kubeletVersion="kwok-0.8.0")], []),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_node_that_the_mesh_does_not_run_on_is_named(name: str) -> None:
    nodes, expected = FAULTS[name]
    assert found(NODES, subject(*nodes)) == expected


def test_all_nodes_of_an_architecture_without_images_refuse_the_plan() -> None:
    (fault,) = NODES.run(subject(node(architecture="ppc64le")))
    assert fault.severity == "error"


def test_the_kernel_matters_only_where_an_init_container_redirects() -> None:
    old = node(kernelVersion="3.10.0-1160.el7.x86_64")
    assert found(NODES, subject(old, mesh="linkerd")) == [("MSH725", "Node/one")]
    assert found(NODES, subject(old, mesh="linkerd", linkerd={"cni": True})) == []
    assert found(NODES, subject(old)) == []


def test_replicas_on_one_node_are_a_warning_also_by_their_autoscaler() -> None:
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "istiod", "namespace": "istio-system"},
        "spec": {"minReplicas": 2, "scaleTargetRef": {"kind": "Deployment", "name": "istiod"}},
    }
    alone = [("MSH726", "Deployment/istio-system/istiod")]
    assert found(NODES, subject(node(), rendered=[istiod(2)])) == alone
    assert found(NODES, subject(node(), rendered=[istiod(), scaler])) == alone
    assert found(NODES, subject(node(), rendered=[istiod()])) == []


def test_pods_that_find_no_room_are_named_and_running_ones_count() -> None:
    probes = Probes(kinds=DEPLOYMENT, now=NOW)
    assert found(ROOM, subject(node(), rendered=[istiod(cpu="3")], probes=probes)) == []
    assert found(ROOM, subject(node(), rendered=[istiod(cpu="5")], probes=probes)) == [("MSH727", "Node")]
    busy = item(
        "Pod",
        {"name": "p", "namespace": "x"},
        spec={"nodeName": "one", "containers": [{"resources": {"limits": {"cpu": "3"}}}]},
        status={"phase": "Running"},
    )
    crowded = subject(node(), busy, rendered=[istiod(cpu="2")], probes=probes)
    assert found(ROOM, crowded) == [("MSH727", "Node")]
    ended = {**busy, "status": {"phase": "Succeeded"}}
    assert found(ROOM, subject(node(), ended, rendered=[istiod(cpu="2")], probes=probes)) == []


def test_what_runs_already_asks_for_no_room_again() -> None:
    live = item("Deployment", {"name": "istiod", "namespace": "istio-system"})
    asked = subject(node(), live, rendered=[istiod(cpu="5")], probes=Probes(kinds=DEPLOYMENT, now=NOW))
    assert found(ROOM, asked) == []


def container(cpu: str, **more: Any) -> dict[str, Any]:
    return {"resources": {"requests": {"cpu": cpu}}, **more}


def test_init_containers_count_once_and_native_sidecars_for_good() -> None:
    assert requests({"containers": [container("1"), container("2")]})["cpu"] == Decimal(3)
    assert requests({"containers": [container("1")], "initContainers": [container("2")]})["cpu"] == Decimal(2)
    native = container("2", restartPolicy="Always")
    assert requests({"containers": [container("1")], "initContainers": [native]})["cpu"] == Decimal(3)
    assert requests({}) == {"cpu": Decimal(0), "memory": Decimal(0)}


amounts = st.fixed_dictionaries({"cpu": st.integers(0, 8).map(Decimal), "memory": st.integers(0, 8).map(Decimal)})


@given(st.lists(amounts, max_size=6), st.lists(amounts, min_size=1, max_size=3))
def test_pods_that_are_placed_fit_and_one_that_is_not_fits_on_no_empty_node_beside_the_larger(
    pods: list[dict[str, Decimal]], nodes: list[dict[str, Decimal]]
) -> None:
    wanted = [(str(number), asked) for number, asked in enumerate(pods)]
    homeless = unplaced(wanted, {str(number): place for number, place in enumerate(nodes)})
    placed = [asked for name, asked in wanted if name not in homeless]
    for key in ("cpu", "memory"):
        assert sum(asked[key] for asked in placed) <= sum(place[key] for place in nodes)
    for name, asked in wanted:
        if all(any(asked[key] > place[key] for key in asked) for place in nodes):
            assert name in homeless
    if len(wanted) == 1:
        fits = any(all(pods[0][key] <= place[key] for key in place) for place in nodes)
        assert homeless == ([] if fits else ["0"])


def test_a_node_that_says_nothing_of_its_room_is_left_out() -> None:
    silent = item("Node", {"name": "x"}, status={})
    assert free([silent, node()], []) == {"one": {"cpu": Decimal(4), "memory": Decimal(16 * 2**30)}}
