"""The bound that tests of shares state holds, and they still tell a wrong share from a right one."""

from fractions import Fraction

import pytest

from tests import chance


def refused(total: int, right: int, true: int) -> Fraction:
    """The exact probability that counts of a share of `true` percent are refused where `right` is declared."""
    accepted = [count for count in range(total + 1) if chance.plausible_share(count, total, right)]
    if not accepted:
        return Fraction(1)
    below, _ = chance.tails(accepted[0] - 1, total, true, 100) if accepted[0] else (0, 0)
    _, above = chance.tails(accepted[-1] + 1, total, true, 100) if accepted[-1] < total else (0, 0)
    return Fraction(below + above, 100**total)


@pytest.mark.parametrize(("total", "percent"), [(200, 10), (400, 25), (500, 40), (240, 30), (300, 1)])
def test_a_right_share_is_refused_less_often_than_the_bound(total: int, percent: int) -> None:
    assert 0 < refused(total, percent, percent) < chance.FALSE_ALARM


@pytest.mark.parametrize(("total", "right", "true"), [(1000, 10, 22), (500, 40, 62), (400, 25, 49), (240, 30, 65)])
def test_a_share_that_is_far_off_is_refused_nearly_always(total: int, right: int, true: int) -> None:
    assert refused(total, right, true) > 0.999


def test_no_share_and_the_whole_are_exact() -> None:
    assert chance.plausible({"v1": 0, "v2": 50}, {"v1": 0, "v2": 100})
    assert not chance.plausible({"v1": 1, "v2": 49}, {"v1": 0, "v2": 100})
    assert not chance.plausible({"v1": 50, "v3": 1}, {"v1": 100})
    assert not chance.plausible({}, {"v1": 100})


def test_tails_are_those_of_the_binomial_distribution() -> None:
    # P(X <= 1) and P(X >= 1) for n = 10, p = 1/2.
    assert chance.tails(1, 10, 1, 2) == (11, 1023)
