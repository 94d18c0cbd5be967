"""How Grafana writes values and colours: units, ticks of an axis, names of colours."""

import math
from collections.abc import Sequence

COLORS = {
    "green": "#73bf69",
    "yellow": "#fade2a",
    "orange": "#ff9830",
    "red": "#f2495c",
    "dark-red": "#c4162a",
    "blue": "#5794f2",
    "transparent": "none",
}
PALETTE = ("#73bf69", "#5794f2", "#ff9830", "#b877d9", "#fade2a", "#f2495c", "#8ab8ff", "#96d98d", "#ffcb7d", "#ca95e5")
_DAY, _HOUR, _MINUTE = 86_400, 3600, 60


def color(name: str) -> str:
    """Return a colour of Grafana as one of CSS."""
    return COLORS.get(name, name)


def text(value: float, unit: str, decimals: int | None = None) -> str:
    """Return a value with its unit."""
    if math.isnan(value):
        return "-"
    if unit == "percentunit":
        return f"{_number(value * 100, decimals)}%"
    if unit == "bytes":
        return _scaled(value, 1024, ("B", "KiB", "MiB", "GiB"), decimals)
    if unit == "s":
        return _seconds(value, decimals)
    if unit == "ms":
        return f"{_number(value / 1000, decimals)} s" if value >= 1000 else f"{_number(value, decimals)} ms"
    tail = {"reqps": " req/s", "ops": " ops/s"}.get(unit, "")
    return _scaled(value, 1000, ("", "K", "M"), decimals).strip() + tail


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Return round values between two others, about so many."""
    if high <= low:
        return [low]
    raw = (high - low) / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(one * power for one in (1, 2, 2.5, 5, 10) if one * power >= raw)
    first = math.ceil(low / step - 1e-9) * step
    return [first + at * step for at in range(int((high - first) / step + 1e-9) + 1)]


def chosen(value: float, steps: Sequence[dict[str, object]]) -> str:
    """Return the colour of a value by thresholds."""
    found = "blue"
    for step in steps:
        limit = step.get("value")
        if limit is None or (isinstance(limit, int | float) and value >= limit):
            found = str(step["color"])
    return color(found)


def _seconds(value: float, decimals: int | None) -> str:
    if abs(value) >= 2 * 365 * _DAY:
        return f"{_number(value / (365 * _DAY), decimals)} years"
    for size, name in ((_DAY, "days"), (_HOUR, "hours"), (_MINUTE, "min")):
        if abs(value) >= 2 * size:
            return f"{_number(value / size, decimals)} {name}"
    return f"{_number(value * 1000, decimals)} ms" if 0 < abs(value) < 1 else f"{_number(value, decimals)} s"


def _scaled(value: float, base: int, names: Sequence[str], decimals: int | None) -> str:
    at = 0
    while abs(value) >= base and at < len(names) - 1:
        value, at = value / base, at + 1
    return f"{_number(value, decimals)} {names[at]}"


def _number(value: float, decimals: int | None) -> str:
    if decimals is not None:
        return f"{value:.{decimals}f}"
    size = abs(value)
    digits = 0 if size >= 100 or value == round(value) else 1 if size >= 10 else 2 if size >= 0.1 else 3
    written = f"{value:.{digits}f}"
    return written.rstrip("0").rstrip(".") if "." in written else written
