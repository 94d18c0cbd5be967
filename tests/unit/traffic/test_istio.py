"""The compiler to VirtualService and DestinationRule."""

from __future__ import annotations

from typing import Any

from tests.unit.traffic.helpers import compile_routes, routes_of


def compiled(raw: object) -> dict[str, Any]:
    """The objects by Kind/namespace/name."""
    compilation = compile_routes(routes_of(raw), "istio")
    compilation.refuse()
    return {
        f"{item['kind']}/{item['metadata']['namespace']}/{item['metadata']['name']}": item
        for item in compilation.manifests
    }


def test_a_split_becomes_one_virtual_service_with_weighted_subsets() -> None:
    objects = compiled({"reviews": {"split": {"v1": 90, "v2": 10}}})
    spec = objects["VirtualService/bookinfo/reviews"]["spec"]
    host = "reviews.bookinfo.svc.cluster.local"
    assert spec["hosts"] == [host]
    assert spec["http"] == [
        {
            "name": "split",
            "route": [
                {"destination": {"host": host, "subset": "v1"}, "weight": 90},
                {"destination": {"host": host, "subset": "v2"}, "weight": 10},
            ],
        }
    ]


def test_every_known_version_is_a_subset_whatever_the_weights() -> None:
    objects = compiled({"reviews": {"split": {"v3": 100}}})
    subsets = objects["DestinationRule/bookinfo/reviews"]["spec"]["subsets"]
    assert subsets == [{"name": name, "labels": {"version": name}} for name in ("v1", "v2", "v3")]


def test_a_change_of_weights_changes_exactly_the_virtual_service() -> None:
    before = compiled({"reviews": {"split": {"v1": 90, "v2": 10}}})
    after = compiled({"reviews": {"split": {"v1": 0, "v3": 100}}})
    assert before.keys() == after.keys()
    assert [name for name in before if before[name] != after[name]] == ["VirtualService/bookinfo/reviews"]


def test_destinations_come_before_the_routes_that_name_them() -> None:
    raw = {"reviews": {"split": {"v1": 100}}, "ratings": {"split": {"v1": 100}}}
    kinds = [item["kind"] for item in compile_routes(routes_of(raw), "istio").manifests]
    assert kinds == ["DestinationRule", "DestinationRule", "VirtualService", "VirtualService"]


def test_the_summary_has_the_shape_of_the_contract() -> None:
    compilation = compile_routes(routes_of({"reviews": {"split": {"v1": 90, "v2": 10}}}), "istio")
    summary = compilation.summaries["reviews"]
    assert summary["namespace"] == "bookinfo"
    assert summary["host"] == "reviews.bookinfo.svc.cluster.local"
    assert summary["mesh"] == "istio"
    assert summary["api"] == "networking.istio.io/v1"
    backends = [{"name": "v1", "weight": 90}, {"name": "v2", "weight": 10}]
    assert summary["rules"] == [{"match": "all", "backends": backends}]
    assert summary["objects"] == ["VirtualService/bookinfo/reviews", "DestinationRule/bookinfo/reviews"]
