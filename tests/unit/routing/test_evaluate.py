"""What the differential test on the data plane found once, kept where it is quick to see."""

from __future__ import annotations

import pytest

from components.routing.capability import VIRTUAL_SERVICE
from components.routing.compile import Planned
from components.routing.evaluate import evaluate, request_from
from tests.unit.routing.helpers import routes_of


@pytest.mark.parametrize(
    ("header", "taken"),
    [
        ("group=b", True),
        ("id=7; group=b", True),
        ("group=a", False),
        # Seen in Envoy: the pattern meets any cookie of the name.
        ("group=a; group=b", True),
        ("group=b;group=a", True),
    ],
)
def test_any_cookie_of_a_name_may_meet_the_condition(header: str, taken: bool) -> None:
    (route,) = routes_of({"reviews": {"rules": [{"name": "b", "match": {"cookies": {"group": "b"}}}, {"name": "a"}]}})
    decision = evaluate(Planned(route, VIRTUAL_SERVICE, ""), request_from("/", headers=[("cookie", header)]))
    assert decision.rule is not None
    assert decision.rule.name == ("b" if taken else "a")


@pytest.mark.parametrize(
    ("headers", "taken"),
    [
        ([("x-group", "b"), ("X-Group", "c")], True),
        ([("x-group", "c"), ("X-Group", "b")], True),
        ([("x-group", "b, c")], False),
        ([("x-other", "b")], False),
    ],
)
def test_any_header_of_a_name_may_meet_the_condition(headers: list[tuple[str, str]], taken: bool) -> None:
    (route,) = routes_of({"reviews": {"rules": [{"name": "b", "match": {"headers": {"x-group": "b"}}}, {"name": "a"}]}})
    decision = evaluate(Planned(route, VIRTUAL_SERVICE, ""), request_from("/", headers=headers))
    assert decision.rule is not None
    assert decision.rule.name == ("b" if taken else "a")
