"""What counts of backends say of their weights.

A proxy picks a weighted destination at random for each request, so the count of a backend is binomial. For each backend
the exact binomial test gives the probability of a count at least this far off on its side, doubled; the smallest, times
the number of backends (Bonferroni's bound), is the p-value. A split does not hold when the p-value is below
`SIGNIFICANCE`: a right split is refused in fewer than one of 100,000 looks. A backend of weight 0 may not answer.

The interval is Wilson's score interval at 99 % for the observed share (E. B. Wilson, "Probable inference, the law of
succession, and statistical inference", 1927).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

CONFIDENCE = 0.99
SIGNIFICANCE = 1e-5
HEADINGS = ("weight", "requests", "share", "interval")
"""What `Share.cells` returns."""


@dataclass(frozen=True)
class Share:
    """One backend's part.

    Attributes:
        backend: Its name.
        expected: Share by weight, 0 to 1.
        count: Requests that it answered.
        observed: Share of all answered requests.
        low: Lower end of the interval of the observed share.
        high: Upper end.
    """

    backend: str
    expected: float
    count: int
    observed: float
    low: float
    high: float

    @property
    def counted(self) -> bool:
        """Whether there was any request, of whichever backend."""
        return self.count > 0 or self.high < 1

    def cells(self) -> tuple[str, ...]:
        """Return it as text, under `HEADINGS`. Without any request there is no share."""
        if not self.counted:
            return f"{self.expected:.0%}", "0", "-", "-"
        interval = f"{self.low:.2%} - {self.high:.2%}"
        return f"{self.expected:.0%}", str(self.count), f"{self.observed:.2%}", interval

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "name": self.backend,
            "expected": self.expected,
            "count": self.count,
            "observed": self.observed,
            "low": self.low,
            "high": self.high,
        }


def measured(counts: Mapping[str, int], weights: Mapping[str, int]) -> list[Share]:
    """Return the share of each backend, in the order of the counts.

    Args:
        counts: Requests by backend.
        weights: The declared weights; a backend without one has 0.
    """
    total, whole = sum(counts.values()), sum(weights.values())
    return [
        Share(name, weights.get(name, 0) / whole, count, count / total if total else 0.0, *wilson(count, total))
        for name, count in counts.items()
    ]


def wilson(count: int, total: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return Wilson's score interval for a share.

    Args:
        count: Successes, 0 to total.
        total: Trials. With none the interval is all of [0, 1].
        confidence: Of (0, 1).
    """
    if total == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share = count / total
    scale = 1 + z * z / total
    middle = (share + z * z / (2 * total)) / scale
    half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total)) / scale
    # At the ends the interval touches the share exactly; rounding may pass it by an ulp.
    return min(max(middle - half, 0.0), share), max(min(middle + half, 1.0), share)


def binomial_p_value(count: int, total: int, share: float) -> float:
    """Return the exact two-sided p-value, twice the smaller tail, of a count under Binomial(total, share)."""
    if share <= 0.0:
        return 1.0 if count == 0 else 0.0
    if share >= 1.0:
        return 1.0 if count == total else 0.0
    log_share, log_rest = math.log(share), math.log1p(-share)

    def probability(k: int) -> float:
        ways = math.lgamma(total + 1) - math.lgamma(k + 1) - math.lgamma(total - k + 1)
        return math.exp(ways + k * log_share + (total - k) * log_rest)

    # The tail beyond the mean is summed, which is the small one but for the rounding of the mean.
    if count <= total * share:
        tail = math.fsum(probability(k) for k in range(count + 1))
    else:
        tail = math.fsum(probability(k) for k in range(count, total + 1))
    return min(2 * tail, 1.0)


def p_value(counts: Mapping[str, int], weights: Mapping[str, float]) -> float:
    """Return the p-value of counts under weights: Bonferroni's bound over one exact binomial test per backend.

    A backend that was counted without having a weight makes it 0.
    """
    total, whole = sum(counts.values()), sum(weights.values())
    names = sorted({*counts, *weights})
    smallest = min(binomial_p_value(counts.get(n, 0), total, weights.get(n, 0) / whole) for n in names)
    return min(smallest * len(names), 1.0)


def two_proportions(bad: float, total: float, bad_of_baseline: float, total_of_baseline: float) -> float:
    """Return by how many standard deviations a share of bad requests is higher than that of a baseline.

    The two-proportion z-test, pooled, with one success and one failure added, so that there is a spread without faults:
    that of the alert MeshupCanaryWorse.

    Args:
        bad: Bad requests, 0 to total.
        total: Requests, at least 1.
        bad_of_baseline: Those of the baseline.
        total_of_baseline: Its requests, at least 1.
    """
    pooled = (bad + bad_of_baseline + 1) / (total + total_of_baseline + 2)
    spread = math.sqrt(pooled * (1 - pooled) * (1 / total + 1 / total_of_baseline))
    return (bad / total - bad_of_baseline / total_of_baseline) / spread
