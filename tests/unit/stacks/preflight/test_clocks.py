"""Clocks: of this machine, of the API server, of the nodes."""

from datetime import UTC, datetime

import pytest

from components.manifests import Manifest
from stacks.preflight import Probes
from stacks.preflight.clocks import CLOCKS
from tests.unit.stacks.fake_view import item
from tests.unit.stacks.preflight.subjects import NOW, found, subject


def lease(seconds: float) -> Manifest:
    """The heartbeat of a node, so many seconds after the own time."""
    time = datetime.fromtimestamp(NOW + seconds, UTC).isoformat().replace("+00:00", "Z")
    return item("Lease", {"name": "one", "namespace": "kube-node-lease"}, spec={"renewTime": time})


@pytest.mark.parametrize(("ahead", "wrong"), [(None, False), (0.4, False), (-19.0, False), (21.0, True), (-90.0, True)])
def test_a_clock_that_differs_by_more_than_linkerd_allows_for_is_reported(ahead: float | None, *, wrong: bool) -> None:
    assert found(CLOCKS, subject(probes=Probes(ahead=ahead, now=NOW))) == [("MSH730", "clock")] * wrong


@pytest.mark.parametrize(("seconds", "wrong"), [(0, False), (-9, False), (-305, False), (-320, True), (30, True)])
def test_the_heartbeat_of_a_node_is_held_against_the_clock_of_the_api_server(seconds: float, *, wrong: bool) -> None:
    expected = [("MSH731", "Node/one")] * wrong
    assert found(CLOCKS, subject(lease(seconds), probes=Probes(ahead=0.0, now=NOW))) == expected
    shifted = subject(lease(seconds + 15), probes=Probes(ahead=15.0, now=NOW))
    assert found(CLOCKS, shifted) == expected


def test_a_node_without_a_time_and_leases_that_may_not_be_read_are_no_fault() -> None:
    silent = item("Lease", {"name": "one", "namespace": "kube-node-lease"}, spec={})
    assert found(CLOCKS, subject(silent)) == []
    asked = subject(lease(-900), refused=["Lease"])
    assert found(CLOCKS, asked) == [] == asked.view.diagnostics
