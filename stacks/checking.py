"""Checks of a cluster by name, for `meshup preflight` and `meshup health`: pure functions and how all of them run."""

from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, Protocol, TypeVar

from components.diagnostics import Diagnostic
from stacks.cluster import ClusterView


class OnCluster(Protocol):
    """A subject of checks: it has a view of its cluster."""

    @property
    def view(self) -> ClusterView:
        """The cluster."""
        ...


Subject = TypeVar("Subject", bound=OnCluster)


class Check(NamedTuple, Generic[Subject]):
    """One check: a function from a subject to what it finds.

    Attributes:
        name: Name in outputs, such as `nodes`.
        title: What is true if it finds nothing.
        codes: The codes that it reports.
        run: Finds what is wrong.
    """

    name: str
    title: str
    codes: tuple[str, ...]
    run: Callable[[Subject], Sequence[Diagnostic]]


def run_all(checks: Sequence[Check[Subject]], subject: Subject) -> list[tuple[Check[Subject], list[Diagnostic]]]:
    """Run checks; return each with what it finds. A check whose lists can't be read finds nothing."""

    def bound(one: Check[Subject]) -> Callable[[], Sequence[Diagnostic]]:
        return lambda: one.run(subject)

    return [(one, list(subject.view.if_readable(bound(one), otherwise=[]))) for one in checks]


__all__ = ["Check", "OnCluster", "run_all"]
