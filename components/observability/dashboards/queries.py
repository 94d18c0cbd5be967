"""Expressions on neutral series that several dashboards show."""

from __future__ import annotations

from ..alerts import FAILED
from ..promql import share
from ..source import Query

_REQUESTS, _BUCKETS = "meshup:requests:rate5m", "meshup:request_duration_ms_bucket:rate5m"


def success(chosen: str, by: str = "") -> str:
    """Return the share of requests that did not fail.

    Args:
        chosen: The selector of the requests.
        by: Labels by which they are told apart.
    """
    total = f"sum{_by(by)} ({_REQUESTS}{chosen})"
    failed = f'sum{_by(by)} ({_REQUESTS}{chosen[:-1]}, code_class=~"{FAILED}"}})'
    return f"1 - {share(failed, total)}"


def quantile(part: float, chosen: str, by: str = "") -> str:
    """Return the milliseconds within which a part of the requests was answered, guessed between two bounds."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({part:g}, sum by ({labels}) ({_BUCKETS}{chosen}))"


def by_code(chosen: str) -> list[Query]:
    """Return requests per second by class of the code, and those without an answer."""
    return [
        Query(f'sum by (code_class) ({_REQUESTS}{chosen[:-1]}, code_class!=""}})', "{{code_class}}"),
        Query(f'sum({_REQUESTS}{chosen[:-1]}, code_class=""}})', "no answer"),
    ]


def _by(labels: str) -> str:
    return f" by ({labels})" if labels else ""
