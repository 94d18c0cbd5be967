"""Every diagnostic of traffic is raised by its example in docs/diagnostics/examples.yaml; reports read well."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from components.apps import bookinfo
from components.diagnostics import CATALOGUE, ConfigurationError, Diagnostic, errors, nearest, ordered, render
from components.diagnostics.codes import TRAFFIC
from components.traffic import compile_routes, parse
from components.traffic.model import Mesh

EXAMPLES = Path(__file__).resolve().parents[3] / "docs" / "diagnostics" / "examples.yaml"
ELSEWHERE = {"MSH155", "MSH163", "MSH166", "MSH167", "MSH170"}
"""Raised by `meshup explain`, and by a look at the cluster (stacks/patches.py), and tested there."""


def examples() -> dict[str, dict[str, Any]]:
    return cast("dict[str, dict[str, Any]]", yaml.safe_load(EXAMPLES.read_text()))


def diagnostics_of(example: dict[str, Any]) -> list[Diagnostic]:
    services = bookinfo.services("bookinfo")
    routes, faults = parse(example["traffic"], "meshup:traffic", services)
    mesh: Mesh = "linkerd" if example.get("mesh") == "linkerd" else "istio"
    return [*faults, *compile_routes(routes, mesh, services).diagnostics]


@pytest.mark.parametrize("code", [entry.code for entry in TRAFFIC if entry.code not in ELSEWHERE])
def test_the_example_of_a_code_raises_it_and_nothing_else_that_refuses(code: str) -> None:
    found = diagnostics_of(examples()[code])
    assert code in {diagnostic.code for diagnostic in found}, render(found)
    assert {diagnostic.code for diagnostic in errors(found)} <= {code}, render(found)


def test_a_report_of_many_faults_has_an_end_and_says_how_many_there_are() -> None:
    report = render([Diagnostic("MSH101", f"meshup:traffic.k{n}", n, "Wrong.") for n in range(2_000)])
    assert report.startswith("meshup found 2000 faults.")
    assert report.count("error MSH101") == 500
    assert "1500 more" in report


def test_nothing_that_a_user_wrote_controls_the_terminal_or_fails_to_be_printed() -> None:
    report = render([Diagnostic("MSH101", "meshup:traffic.\x1b[2J", "\x1b", "Wrong: \ud800\x07.", "\x1b")])
    assert report.isascii()
    assert all(character.isprintable() or character == "\n" for character in report)


def test_there_is_no_example_without_a_code() -> None:
    assert set(examples()) <= {entry.code for entry in TRAFFIC}


def test_codes_are_unique_and_belong_to_their_area() -> None:
    from components.diagnostics import codes  # noqa: PLC0415 -- the areas by name

    areas = {"0": codes.CONFIGURATION, "1": codes.TRAFFIC, "2": codes.IDENTITY, "3": codes.MESH}
    listed = [entry.code for area in areas.values() for entry in area]
    assert len(listed) == len(set(listed)) == len(CATALOGUE)
    assert all(entry.code.startswith(f"MSH{digit}") for digit, area in areas.items() for entry in area)
    assert all(entry.title and entry.meaning and entry.remedy for entry in CATALOGUE.values())


def test_the_report_lists_all_faults_errors_first_and_each_once() -> None:
    note = Diagnostic("MSH130", "a", None, "note", severity="info")
    fault = Diagnostic("MSH110", "z.rules[10]", {"v1": 99}, "sum", "100")
    earlier = Diagnostic("MSH110", "z.rules[2]", {"v1": 98}, "sum", "100")
    text = render([note, fault, earlier, fault])
    assert text.startswith("meshup found 2 faults and 1 note. The configuration is refused; nothing was deployed.")
    assert text.index("z.rules[2]") < text.index("z.rules[10]") < text.index("info MSH130")
    assert text == render([fault, note, earlier])


def test_the_report_of_warnings_alone_does_not_refuse() -> None:
    assert "accepted" in render([Diagnostic("MSH143", "a", None, "match", severity="warning")])
    assert render([]) == ""


@pytest.mark.parametrize(
    "value", [float("nan"), {1: object()}, "\x1b[31m", 10**5000, "x" * 5000, {"a": {"b"}}], ids=range(6)
)
def test_any_value_is_shown_in_one_readable_line(value: object) -> None:
    text = render([Diagnostic("MSH101", "a", value, "wrong")])
    assert "\x1b" not in text
    assert max(len(line) for line in text.splitlines()) <= 130


def test_the_remedy_of_the_catalogue_stands_in_for_a_missing_one() -> None:
    assert Diagnostic("MSH110", "a", 1, "m").remedy == CATALOGUE["MSH110"].remedy


def test_an_unknown_code_is_a_defect() -> None:
    with pytest.raises(KeyError):
        Diagnostic("MSH999", "a", 1, "m")


def test_the_exception_carries_the_report() -> None:
    error = ConfigurationError([Diagnostic("MSH110", "a", 1, "m")])
    assert "MSH110" in str(error)
    assert error.diagnostics[0].as_dict()["path"] == "a"


def test_paths_with_huge_numbers_sort() -> None:
    assert ordered([Diagnostic("MSH101", f"a[{'9' * 5000}]", 1, "m")])


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [("reviwes", ["ratings", "reviews"], "reviews"), ("V1", ["v1"], "v1"), ("zzz", ["a"], None)],
)
def test_the_nearest_word_is_suggested(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant
