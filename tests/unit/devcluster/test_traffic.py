from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from devcluster import traffic
from devcluster.kubelet import registry
from devcluster.kubelet.registry import RunningPod
from devcluster.traffic import Edge, Outcome, Split, TrafficError

SPLIT = Split("reviews", "bookinfo", "reviews.bookinfo.svc.cluster.local", {"v1": 90, "v2": 10})
OUTPUTS: dict[str, Any] = {
    "reviews": {
        "namespace": "bookinfo",
        "host": "reviews.bookinfo.svc.cluster.local",
        "mesh": "istio",
        "api": "networking.istio.io/v1",
        "rules": [
            {"match": {"headers": {"end-user": "jason"}}, "backends": [{"name": "v2", "weight": 100}]},
            {"match": "all", "backends": [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}]},
        ],
        "objects": ["VirtualService/bookinfo/reviews"],
    }
}


def counted(counts: Mapping[str, int], **more: Any) -> Outcome:
    answers = {("reviews", version): count for version, count in counts.items()}
    return Outcome(requests=sum(counts.values()) + more.get("failed", 0), seconds=1.0, answers=answers, **more)


def a_pod(app: str, namespace: str = "bookinfo") -> RunningPod:
    return RunningPod(namespace, f"{app}-1", {"app": app}, "10.244.128.1", 1, Path("/p"))


def test_a_split_is_held_by_counts_near_it_only() -> None:
    assert traffic.judged(SPLIT, "pod p", counted({"v1": 1810, "v2": 190})).holds
    assert not traffic.judged(SPLIT, "pod p", counted({"v1": 1000, "v2": 1000})).holds


def test_a_single_failed_request_refuses_a_split() -> None:
    outcome = counted({"v1": 1810, "v2": 190}, failed=1, failures=("status 503: x",))
    assert not traffic.judged(SPLIT, "pod p", outcome).holds


def test_an_answer_of_an_unknown_backend_refuses_a_split_and_shows() -> None:
    result = traffic.judged(SPLIT, "pod p", counted({"v1": 1800, "v2": 199, "v3": 1}))
    assert not result.holds
    assert [s.backend for s in result.shares] == ["v1", "v2", "reviews v3"]


def test_no_request_at_all_is_no_proof() -> None:
    assert not traffic.judged(SPLIT, "pod p", counted({})).holds


def test_a_backend_may_be_a_version_or_another_service() -> None:
    outcome = Outcome(3, 1.0, {("reviews", "v1"): 2, ("legacy", "v1"): 1})
    assert outcome.by_backend(["v1"]) == {"v1": 3}
    assert outcome.by_backend(["legacy"]) == {"legacy": 1, "reviews v1": 2}
    assert Outcome(1, 1.0, {("reviews", "v2"): 1}).by_backend(["reviews-v2"]) == {"reviews-v2": 1}


def test_the_rule_without_a_match_is_what_plain_requests_meet() -> None:
    assert traffic.splits(OUTPUTS) == [SPLIT]
    assert traffic.splits({}) == []


@pytest.mark.parametrize(
    ("operations", "path"),
    [
        ([{"methods": ["GET"], "paths": ["/reviews/{*}"]}], "/reviews/1"),
        ([{"paths": ["/reviews/**"]}], "/reviews"),
        ([{"methods": ["POST"], "paths": ["/login"]}, {"port": 9080}], "/"),
        ([], "/"),
    ],
)
def test_a_path_that_the_policy_allows_is_sent(operations: list[dict[str, Any]], path: str) -> None:
    rules = [{"effect": "deny", "to": [{"paths": ["/denied"]}]}, {"effect": "allow", "to": operations}]
    security = {"services": {"bookinfo/reviews": {"host": SPLIT.host, "rules": rules}}}
    (split,) = traffic.splits(OUTPUTS, None, security)
    assert split.path == path


def test_requests_come_from_productpage_or_else_from_a_pod_that_is_no_target() -> None:
    pods = [a_pod("details"), a_pod("productpage"), a_pod("reviews")]
    assert traffic.choose_source(pods, SPLIT).name == "productpage-1"
    assert traffic.choose_source([a_pod("reviews"), a_pod("details")], SPLIT).name == "details-1"
    for none in ([], [a_pod("reviews")], [a_pod("productpage", "elsewhere")]):
        with pytest.raises(TrafficError, match="namespace bookinfo"):
            traffic.choose_source(none, SPLIT)


def test_the_table_and_the_json_say_the_same() -> None:
    result = traffic.judged(SPLIT, "pod productpage-1", counted({"v1": 1810, "v2": 190}))
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(traffic.table(result))
    text = captured.get()
    assert "90.50%" in text
    assert "The split holds" in text
    data = result.as_json()
    assert data["holds"] is True
    assert [b["count"] for b in data["backends"]] == [1810, 190]
    assert data["confidence"] == 0.99


def test_an_unmeasurable_cluster_is_an_error_with_a_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with pytest.raises(TrafficError, match="kubectl get pods"):
        traffic.run("none", {"trafficSplits": OUTPUTS}, console=Console(quiet=True))


def test_any_number_of_requests_has_a_time_that_the_system_can_wait_for() -> None:
    assert traffic.longest(2000, 10.0) == 20_030.0
    assert traffic.longest(10_000_000, 10.0) * 1000 < 2**31, "poll(2) takes milliseconds as an int"


def test_from_outside_only_a_load_balancer_can_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    file = registry.pods_folder("dev") / registry.SERVICES_FILE
    file.parent.mkdir(parents=True)
    file.write_text('{"shop/web": {"address": "10.96.0.9", "external": "", "ports": {"": 80}}}')
    with pytest.raises(TrafficError, match="Service shop/web has no address of a load balancer"):
        traffic.send("dev", None, traffic.Request("shop", "web"))


LISTENERS: list[dict[str, Any]] = [
    {"port": 80, "protocol": "http", "hosts": ["*"], "redirect": True},
    {"port": 8080, "protocol": "http", "hosts": ["*"], "redirect": False},
    {"port": 443, "protocol": "https", "hosts": ["*.example.com"], "redirect": False},
    {"port": 8443, "protocol": "tls", "hosts": ["*"], "redirect": False},
]
GATEWAYS: dict[str, Any] = {"public": {"namespace": "istio-ingress", "service": "public", "listeners": LISTENERS}}


@pytest.mark.parametrize(
    ("hosts", "edge"),
    [
        (["shop.example.com"], Edge("istio-ingress", "public", 443, "shop.example.com", tls=True)),
        (["shop.example.org"], Edge("istio-ingress", "public", 8080, "shop.example.org", tls=False)),
        (["*.example.com"], None),
        ([], None),
    ],
)
def test_callers_from_outside_use_the_listener_of_the_host_and_rather_tls(hosts: list[str], edge: Edge | None) -> None:
    exposed = {"reviews": {**OUTPUTS["reviews"], "gateway": "public", "hosts": hosts}}
    (split,) = traffic.splits(exposed, GATEWAYS)
    assert split.edge == edge


@pytest.mark.parametrize(
    ("paths", "path"),
    [([{"prefix": "/api"}], "/api"), ([{"regex": "/a+"}, {"exact": "/login"}], "/login"), ([{"regex": "/a+"}], None)],
)
def test_callers_from_outside_use_a_path_that_the_gateway_takes(paths: list[dict[str, str]], path: str | None) -> None:
    exposed = {"reviews": {**OUTPUTS["reviews"], "gateway": "public", "hosts": ["shop.example.com"], "paths": paths}}
    (split,) = traffic.splits(exposed, GATEWAYS)
    assert (split.edge and split.edge.path) == path


def test_a_gateway_whose_service_is_not_known_is_not_measured() -> None:
    exposed = {"reviews": {**OUTPUTS["reviews"], "gateway": "public", "hosts": ["shop.example.com"]}}
    gateways = {"public": {"namespace": "istio-ingress", "listeners": LISTENERS}}
    assert traffic.splits(exposed, gateways) == traffic.splits(OUTPUTS)


def test_a_certificate_is_never_taken_unchecked(tmp_path: Path) -> None:
    edge = Edge("istio-ingress", "public", 443, "shop.example.com", tls=True)
    with pytest.raises(TrafficError, match="--authority FILE"):
        traffic.edge_request(edge, None)
    assert traffic.edge_request(edge, tmp_path).tls == traffic.Tls("shop.example.com", tmp_path)
