"""Measurements, ratios and the table. Pure functions on plain data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Run:
    """One run of one command.

    Attributes:
        seconds: Wall clock.
        processor_seconds: Processor time of the command and all that it started; not of the cluster. Unlike the wall
            clock it hardly depends on what else the machine does.
        program_seconds: Processor time of the Pulumi program itself, None where there is none.
        program_mib: Its peak resident memory.
    """

    seconds: float
    processor_seconds: float | None = None
    program_seconds: float | None = None
    program_mib: float | None = None


@dataclass(frozen=True)
class Figure:
    """What one way took for one piece of work.

    Attributes:
        group: What belongs into one table, such as `install` or `scale 100`.
        work: What was done, such as `up from nothing`.
        way: The tool or the delivery that did it, such as `meshup` or `kubectl`.
        runs: Each run. Their median is quoted.
        baseline: The way that the others are compared with.
    """

    group: str
    work: str
    way: str
    runs: tuple[Run, ...]
    baseline: str = ""

    @property
    def seconds(self) -> float:
        """Median of the wall clock."""
        return median(run.seconds for run in self.runs)

    @property
    def processor_seconds(self) -> float | None:
        """Median of the processor time."""
        return _median([run.processor_seconds for run in self.runs])

    @property
    def program_seconds(self) -> float | None:
        """Median of the program's processor time."""
        return _median([run.program_seconds for run in self.runs])

    @property
    def program_share(self) -> float | None:
        """The program's processor time as a share of the wall clock."""
        return None if self.program_seconds is None else ratio(self.program_seconds, self.seconds)

    @property
    def program_mib(self) -> float | None:
        """The largest peak memory of all runs."""
        known = [run.program_mib for run in self.runs if run.program_mib is not None]
        return max(known) if known else None


@dataclass(frozen=True)
class Failure:
    """What could not be measured.

    Attributes:
        group: As of a figure.
        work: What was done when it failed, "" where that is not known.
        way: The tool or the delivery.
        message: Why, in words; may have several lines.
    """

    group: str
    work: str
    way: str
    message: str


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return median(known) if known else None


def ratio(value: float, base: float) -> float | None:
    """Return how many times the base a value is; None where there is no base to speak of."""
    return value / base if base > 0 else None


def collected(figures: Sequence[Figure]) -> list[Figure]:
    """Put the runs of repeated figures together, in order of first appearance."""
    result: dict[tuple[str, str, str], Figure] = {}
    for item in figures:
        key = (item.group, item.work, item.way)
        before = result.get(key)
        runs = (*before.runs, *item.runs) if before else item.runs
        result[key] = Figure(item.group, item.work, item.way, runs, item.baseline)
    return list(result.values())


def against(figure: Figure, figures: Sequence[Figure]) -> Figure | None:
    """Return the figure that this one is compared with: the same work by its baseline."""
    for other in figures:
        if (other.group, other.work, other.way) == (figure.group, figure.work, figure.baseline):
            return other
    return None


def document(figures: Sequence[Figure], failures: Sequence[Failure], about: Mapping[str, object]) -> dict[str, object]:
    """Return the results as JSON data: camelCase keys, seconds and MiB as numbers, null where nothing was measured."""
    listed = [vars(failure) for failure in failures]
    return {**about, "figures": [_entry(figure, figures) for figure in figures], "failures": listed}


def _entry(figure: Figure, figures: Sequence[Figure]) -> dict[str, object]:
    base = against(figure, figures)
    return {
        "group": figure.group,
        "work": figure.work,
        "way": figure.way,
        "seconds": round(figure.seconds, 4),
        "runs": [round(run.seconds, 4) for run in figure.runs],
        "baseline": base.way if base else None,
        "ratio": _rounded(ratio(figure.seconds, base.seconds)) if base else None,
        "processorSeconds": _rounded(figure.processor_seconds),
        "programSeconds": _rounded(figure.program_seconds),
        "programShare": _rounded(figure.program_share),
        "programMiB": _rounded(figure.program_mib),
        "programMiBRatio": _memory_ratio(figure, base),
    }


def _memory_ratio(figure: Figure, base: Figure | None) -> float | None:
    if base is None or figure.program_mib is None or base.program_mib is None:
        return None
    return _rounded(ratio(figure.program_mib, base.program_mib))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


HEADINGS = ("", "work", "way", "time", "ratio", "processor", "program", "peak memory")


def rows(figures: Sequence[Figure], failures: Sequence[Failure] = ()) -> list[tuple[str, ...]]:
    """Return the rows of the table as text: one per figure, where the group stands only where it begins, then one per
    failure.
    """
    result: list[tuple[str, ...]] = []
    last = ""
    for figure in figures:
        base = against(figure, figures)
        times = ratio(figure.seconds, base.seconds) if base else None
        share = figure.program_share
        mib = figure.program_mib
        result.append(
            (
                figure.group if figure.group != last else "",
                figure.work,
                figure.way,
                _seconds(figure.seconds),
                "" if times is None else f"{times:.2f} x",
                "" if figure.processor_seconds is None else _seconds(figure.processor_seconds),
                "" if share is None else f"{figure.program_seconds:.1f} s, {share:.0%}",
                "" if mib is None else f"{mib:.0f} MiB",
            )
        )
        last = figure.group
    blank = ("",) * (len(HEADINGS) - 4)
    return [*result, *((failure.group, failure.work, failure.way, "failed", *blank) for failure in failures)]


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"
