"""Every diagnostic of traffic is raised by its example in operate/examples.yaml; reports read well."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from components.diagnostics import CATALOGUE, ConfigurationError, Diagnostic, codes, errors, nearest, ordered, render
from operate import docs, explain

ROOT = Path(__file__).resolve().parents[3]
ELSEWHERE = {"MSH155", "MSH163", "MSH166", "MSH167", "MSH170", *(f"MSH{number}" for number in range(171, 190))}
"""Raised by the command line, and by a look at the cluster (stacks/patches.py, stacks/services.py); tested there."""
EXAMPLES = {code: example for code in CATALOGUE if (example := explain.example_of(code))}


@pytest.mark.parametrize("code", [code for code in CATALOGUE if code.startswith("MSH1") and code not in ELSEWHERE])
def test_every_code_of_traffic_has_an_example(code: str) -> None:
    assert code in EXAMPLES


@pytest.mark.parametrize("code", EXAMPLES)
def test_the_example_of_a_code_raises_it_and_nothing_else_that_refuses(code: str) -> None:
    diagnostics = docs.example_diagnostics(EXAMPLES[code])
    assert code in {diagnostic.code for diagnostic in diagnostics}, render(diagnostics)
    assert {diagnostic.code for diagnostic in errors(diagnostics)} <= {code}, render(diagnostics)


def test_a_report_of_many_faults_has_an_end_and_says_how_many_there_are() -> None:
    report = render([Diagnostic("MSH001", f"meshup:traffic.k{n}", n, "Wrong.") for n in range(2_000)])
    assert report.startswith("meshup found 2000 faults.")
    assert report.count("error MSH001") == 500
    assert "1500 more" in report


def test_nothing_that_a_user_wrote_controls_the_terminal_or_fails_to_be_printed() -> None:
    report = render([Diagnostic("MSH001", "meshup:traffic.\x1b[2J", "\x1b", "Wrong: \ud800\x07.", "\x1b")])
    assert report.isascii()
    assert all(character.isprintable() or character == "\n" for character in report)


def test_every_code_that_the_code_base_raises_is_in_the_catalogue_and_no_other_is() -> None:
    files = [file for folder in ("components", "stacks", "operate") for file in (ROOT / folder).rglob("*.py")]
    texts = [file.read_text() for file in files if file.name != "codes.py"]
    assert {code for text in texts for code in re.findall(r'"(MSH\d{3})"', text)} == set(CATALOGUE)


def test_every_entry_of_the_catalogue_is_complete_and_in_an_area() -> None:
    for code, entry in CATALOGUE.items():
        assert re.fullmatch(r"MSH[0-7]\d\d", code) and code[:4] in codes.AREAS
        assert all(text and text == text.strip() for text in (entry.title, entry.meaning, entry.remedy)), code
    assert sorted(CATALOGUE) == list(CATALOGUE)
    assert set(re.findall(r"^MSH\d+", codes.ENTRIES, re.MULTILINE)) == set(CATALOGUE)


def test_an_alias_stands_for_a_code_that_there_is_and_is_none_itself() -> None:
    assert set(codes.ALIASES.values()) <= set(CATALOGUE)
    assert not set(codes.ALIASES) & set(CATALOGUE)


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
    text = render([Diagnostic("MSH001", "a", value, "wrong")])
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
    assert ordered([Diagnostic("MSH001", f"a[{'9' * 5000}]", 1, "m")])


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [("reviwes", ["ratings", "reviews"], "reviews"), ("V1", ["v1"], "v1"), ("zzz", ["a"], None)],
)
def test_the_nearest_word_is_suggested(word: str, known: list[str], meant: str | None) -> None:
    assert nearest(word, known) == meant
