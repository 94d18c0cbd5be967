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


@pytest.mark.parametrize(("second", "taken"), [("b", False), ("", False)])
def test_a_header_that_stands_twice_is_compared_as_one_list(second: str, taken: bool) -> None:
    (route,) = routes_of({"reviews": {"rules": [{"name": "b", "match": {"headers": {"x-group": "b"}}}, {"name": "a"}]}})
    request = request_from("/", headers=[("x-group", "b"), ("X-Group", second)])
    decision = evaluate(Planned(route, VIRTUAL_SERVICE, ""), request)
    assert decision.rule is not None
    assert decision.rule.name == ("b" if taken else "a")
