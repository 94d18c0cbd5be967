"""Expressions of PromQL for tests: parsed, type-checked, and walked for the series that they read."""

import itertools
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import promql_parser


class Read(NamedTuple):
    """A selector of an expression.

    Attributes:
        name: The name of the series, or a regular expression of names.
        labels: The labels that the selector compares.
    """

    name: str
    labels: frozenset[str]


def selectors(expression: str) -> list[Read]:
    """Return the selectors of an expression.

    Raises:
        ValueError: It is no PromQL, or an operand or an argument has another type than it must have.
    """
    return list(_walk(promql_parser.parse(expression)))


def written_out(pattern: str) -> list[str]:
    """Return the names for which a pattern stands that has only text, alternatives and groups that may be missing."""
    parts = re.split(r"(\([^()]*\)\??)", pattern)
    choices: list[list[str]] = []
    for part in parts:
        group = re.fullmatch(r"\(([^()]*)\)(\??)", part)
        choices.append([*group[1].split("|"), *([""] if group[2] else [])] if group else [part])
    names = ["".join(one) for one in itertools.product(*choices)]
    assert all(re.fullmatch(r"[a-zA-Z_:][\w:]*", name) for name in names), pattern
    return names


def _walk(expression: Any) -> Iterator[Read]:
    match expression:
        case promql_parser.VectorSelector():
            matchers = expression.matchers.matchers
            name = expression.name or next(one.value for one in matchers if one.name == "__name__")
            yield Read(name, frozenset(one.name for one in matchers) - {"__name__"})
        case promql_parser.MatrixSelector():
            yield from _walk(expression.vector_selector)
        case promql_parser.BinaryExpr():
            yield from _walk(expression.lhs)
            yield from _walk(expression.rhs)
        case promql_parser.Call():
            for argument in expression.args:
                yield from _walk(argument)
        case promql_parser.NumberLiteral() | promql_parser.StringLiteral():
            pass
        case _:
            yield from _walk(expression.expr)
