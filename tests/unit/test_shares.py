"""Intervals and verdicts on counts, against tables and exact arithmetic."""

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shares import statistics
from tests.chance import FALSE_ALARM, tails


# At 95 %. The last one is from R. G. Newcombe, Statistics in Medicine 17 (1998), table I; the others follow from the
# closed form with z = 1.959964.
@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.27753), (10, 10, 0.72247, 1.0), (5, 10, 0.23659, 0.76341), (81, 263, 0.2553, 0.3662)],
)
def test_wilsons_interval_has_the_known_values(count: int, total: int, low: float, high: float) -> None:
    assert statistics.wilson(count, total, 0.95) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(min_value=1, max_value=10_000), st.data())
def test_wilsons_interval_holds_the_share_and_narrows_with_less_confidence(total: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(min_value=0, max_value=total))
    low, high = statistics.wilson(count, total)
    assert 0 <= low <= count / total <= high <= 1
    inner_low, inner_high = statistics.wilson(count, total, 0.5)
    assert low <= inner_low
    assert inner_high <= high


def test_nothing_counted_says_nothing() -> None:
    assert statistics.wilson(0, 0) == (0.0, 1.0)


# P(X <= 1) for n = 10, p = 1/2 is 11/1024; P(X = 0) for n = 20, p = 1/10 is 0.9^20.
@pytest.mark.parametrize(
    ("count", "total", "share", "expected"),
    [(1, 10, 0.5, 22 / 1024), (9, 10, 0.5, 22 / 1024), (0, 20, 0.1, 2 * 0.9**20), (5, 10, 0.5, 1.0)],
)
def test_the_binomial_test_has_the_known_values(count: int, total: int, share: float, expected: float) -> None:
    assert statistics.binomial_p_value(count, total, share) == pytest.approx(expected, rel=1e-9)


@given(st.integers(min_value=1, max_value=400), st.floats(min_value=0.01, max_value=0.99), st.data())
def test_the_binomial_test_is_exact_and_symmetric(total: int, share: float, data: st.DataObject) -> None:
    count = data.draw(st.integers(min_value=0, max_value=total))
    assume(count != total * share)

    def mass(k: int) -> float:
        return math.comb(total, k) * share**k * (1 - share) ** (total - k)

    tails = (math.fsum(map(mass, range(count + 1))), math.fsum(map(mass, range(count, total + 1))))
    expected = min(2 * (tails[0] if count <= total * share else tails[1]), 1.0)
    value = statistics.binomial_p_value(count, total, share)
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert value == pytest.approx(statistics.binomial_p_value(total - count, total, 1 - share), rel=1e-6, abs=1e-12)


def test_a_share_of_nothing_allows_nothing_and_a_share_of_all_demands_all() -> None:
    assert statistics.binomial_p_value(0, 2000, 0.0) == 1.0
    assert statistics.binomial_p_value(1, 2000, 0.0) == 0.0
    assert statistics.binomial_p_value(2000, 2000, 1.0) == 1.0
    assert statistics.binomial_p_value(1999, 2000, 1.0) == 0.0


def test_a_right_split_is_refused_in_fewer_than_one_of_ten_thousand_runs() -> None:
    # The exact chance of refusal over all counts, not a simulation.
    for total, share in ((500, 0.9), (500, 0.5), (200, 0.99), (500, 0.01)):
        weights = {"v1": round(share * 100), "v2": 100 - round(share * 100)}
        refused = 0.0
        for count in range(total + 1):
            if statistics.p_value({"v1": count, "v2": total - count}, weights) < statistics.SIGNIFICANCE:
                ways = math.lgamma(total + 1) - math.lgamma(count + 1) - math.lgamma(total - count + 1)
                refused += math.exp(ways + count * math.log(share) + (total - count) * math.log1p(-share))
        assert refused < 1e-4


def test_a_split_that_is_ten_points_off_is_refused_nearly_always() -> None:
    # The exact chance of acceptance over all counts, not a simulation.
    weights = {"v1": 90, "v2": 10}
    held = [
        n
        for n in range(1500, 2001)
        if statistics.p_value({"v1": n, "v2": 2000 - n}, weights) >= statistics.SIGNIFICANCE
    ]
    assert held[0] > 1500
    assert tails(held[0], 2000, 80, 100)[1] < 100**2000 // round(1 / FALSE_ALARM)


def test_a_share_without_a_request_says_so() -> None:
    first, second = statistics.measured({"v1": 0, "v2": 0}, {"v1": 90, "v2": 10})
    assert first.cells() == ("90%", "0", "-", "-")
    assert (second.low, second.high) == (0.0, 1.0)
    assert statistics.measured({"v1": 100, "v2": 0}, {"v1": 100})[1].cells()[2] == "0.00%"


def test_the_comparison_with_a_baseline_is_that_of_the_alert() -> None:
    # By hand: 50 of 1000 against 10 of 9000; pooled (50 + 10 + 1) / (10000 + 2).
    pooled = 61 / 10002
    expected = (0.05 - 10 / 9000) / math.sqrt(pooled * (1 - pooled) * (1 / 1000 + 1 / 9000))
    assert statistics.two_proportions(50, 1000, 10, 9000) == pytest.approx(expected)
    assert statistics.two_proportions(0, 100, 0, 900) == 0
    assert statistics.two_proportions(0, 100, 90, 900) < 0
