"""Counts by chance: what a test may conclude from them, by one bound and with exact arithmetic.

A proxy picks the destination of each request at random, so that counts are binomial. A test refuses counts only if they
are so far off that a right proxy shows them, or ones further off, with a probability below `FALSE_ALARM`, all backends
of a test taken together (the union bound over both tails of each). Nothing here is shared with what is tested.
"""

from collections.abc import Mapping
from functools import cache
from itertools import accumulate

FALSE_ALARM = 1e-9
"""The probability that one test fails although all is right: once in thousands of years of hourly runs."""


def plausible(counts: Mapping[str, int], weights: Mapping[str, int]) -> bool:
    """Say whether counts are those that weights give.

    Args:
        counts: Requests by backend.
        weights: Integers by backend, such as percent. One without a weight has 0.
    """
    total, whole = sum(counts.values()), sum(weights.values())
    names = {*counts, *weights}
    return total > 0 and all(
        _likely(counts.get(name, 0), total, weights.get(name, 0), whole, 2 * len(names)) for name in names
    )


def plausible_share(count: int, total: int, percent: int) -> bool:
    """Say whether a count out of `total` is what a share of `percent` gives."""
    return plausible({"taken": count, "left": total - count}, {"taken": percent, "left": 100 - percent})


def tails(count: int, total: int, weight: int, whole: int) -> tuple[int, int]:
    """Return the ways to count at most, and at least, so many, out of `whole ** total`: exact integers.

    The weight is more than 0 and less than the whole.
    """
    below = _ways(total, weight, whole)
    return below[count], whole**total - (below[count - 1] if count else 0)


@cache
def _ways(total: int, weight: int, whole: int) -> list[int]:
    """The ways to count at most 0, 1, ... `total`."""
    rest = whole - weight
    ways = [rest**total]
    for count in range(total):
        # C(n, k + 1) / C(n, k) is (n - k) / (k + 1).
        ways.append(ways[-1] * (total - count) * weight // ((count + 1) * rest))
    return list(accumulate(ways))


def _likely(count: int, total: int, weight: int, whole: int, tests: int) -> bool:
    if not 0 < weight < whole:
        return count == total * weight // whole
    # In integers, since the numbers are far below what a float holds.
    return min(tails(count, total, weight, whole)) > whole**total // (tests * round(1 / FALSE_ALARM))


def met(draws: int, shares: int, least: float) -> float:
    """Return a bound on the probability that after `draws` draws one of `shares` destinations was never met, where each
    is picked with a probability of `least` or more.
    """
    return shares * (1 - least) ** draws
