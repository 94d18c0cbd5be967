"""Versions of a Service come and go: its routes never name a subset that is not there."""

import json
from typing import Any, cast

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from devcluster.stackfile import with_settings
from tests.dataplane.test_make_up import kubectl

pytestmark = [pytest.mark.cluster, pytest.mark.dataplane]


def routed(stack: Stack, *versions: str) -> None:
    """Route a Service of our own to these versions, in equal shares."""
    shares = [100 // len(versions)] * len(versions)
    shares[0] += 100 - sum(shares)
    traffic: dict[str, Any] = {
        "reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}},
        "ledger": {
            "namespace": "bookinfo",
            "port": 80,
            "versions": {version: {"version": version} for version in versions},
            "split": dict(zip(versions, shares, strict=True)),
        },
    }
    stack.file.write_text(with_settings(stack.file.read_text(), {"meshup:traffic": traffic}))
    stack.up()


def written(full: Embedded, kind: str) -> tuple[int, dict[str, Any]]:
    """When the object of the Service was last written, on the cluster's own clock, and what it says."""
    found = json.loads(kubectl(full, "get", kind, "ledger", "--namespace", "bookinfo", "-o", "json"))
    return int(found["metadata"]["resourceVersion"]), cast("dict[str, Any]", found["spec"])


def generation(full: Embedded, kind: str) -> int:
    """How often the object of the Service was changed."""
    return json.loads(kubectl(full, "get", kind, "ledger", "--namespace", "bookinfo", "-o", "json"))["metadata"][
        "generation"
    ]


def subsets(full: Embedded) -> tuple[set[str], set[str]]:
    """The subsets that the route names, and those that there are."""
    _, route = written(full, "virtualservice")
    _, rule = written(full, "destinationrule")
    named = {part["destination"]["subset"] for http in route["http"] for part in http["route"]}
    return named, {subset["name"] for subset in rule["subsets"]}


def test_subsets_come_before_the_routes_that_name_them_and_go_after_them(full: Embedded, bookinfo: Stack) -> None:
    try:
        routed(bookinfo, "v1", "v2")
        routed(bookinfo, "v1", "v2", "v3")
        assert subsets(full) == ({"v1", "v2", "v3"}, {"v1", "v2", "v3"})
        assert written(full, "destinationrule")[0] < written(full, "virtualservice")[0]

        routed(bookinfo, "v3")
        assert subsets(full) == ({"v3"}, {"v3"})
        assert written(full, "virtualservice")[0] < written(full, "destinationrule")[0]

        # One version takes the place of another: first both are there, then the route moves, then the old one goes.
        before = generation(full, "destinationrule")
        routed(bookinfo, "v1")
        assert subsets(full) == ({"v1"}, {"v1"})
        assert written(full, "virtualservice")[0] < written(full, "destinationrule")[0]
        assert generation(full, "destinationrule") == before + 2

        # The next change must not meet a second manager of the same fields.
        routed(bookinfo, "v1", "v3")
        assert subsets(full) == ({"v1", "v3"}, {"v1", "v3"})
        bookinfo.run(["preview", "--expect-no-changes"], quiet=True)
    finally:
        traffic = {"reviews": {"namespace": "bookinfo", "split": {"v1": 90, "v2": 10}}}
        bookinfo.file.write_text(with_settings(bookinfo.file.read_text(), {"meshup:traffic": traffic}))
        bookinfo.up()
