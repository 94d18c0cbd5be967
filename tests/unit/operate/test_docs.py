"""The documentation says what the code does: generated parts are up to date, and every strategy does what its page
says.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.diagnostics import errors, render
from components.diagnostics.validation import Form, keys_of
from components.traffic import parse
from components.traffic.evaluate import evaluate, request_from
from components.traffic.grammar import MatchForm, RouteForm, RuleForm
from operate import docs
from tests.unit.traffic.helpers import compile_routes
from tests.unit.traffic.schemas import faults_of_object

STRATEGIES = docs.DOCS / "strategies"
Asked = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, int], ...]]
EXPECTED: dict[str, tuple[tuple[str, ...], tuple[Asked, ...]]] = {
    "canary": (("istio", "linkerd"), (("/", (), (("v1", 95), ("v2", 5))),)),
    "ab-testing": (
        ("istio", "linkerd"),
        (
            ("/", (("Cookie", "id=7; group=b"),), (("v2", 100),)),
            ("/", (("Cookie", "group=bb"),), (("v1", 100),)),
            ("/", (("X-Group", "b"),), (("v2", 100),)),
            ("/", (), (("v1", 100),)),
        ),
    ),
    "blue-green": (("istio", "linkerd"), (("/", (), (("v1", 100), ("v2", 0))),)),
    "dark-launch": (
        ("istio", "linkerd"),
        (("/", (("x-staff", "anything"),), (("v3", 100),)), ("/", (), (("v1", 100),))),
    ),
    "shadowing": (("istio",), (("/", (), (("v1", 100),)),)),
}


def strategy(name: str) -> Any:
    loaded: Any = yaml.safe_load((STRATEGIES / f"{name}.yaml").read_text())
    return loaded["config"]["meshup:traffic"]


def test_every_strategy_has_a_page_an_example_and_an_expectation() -> None:
    assert {file.stem for file in STRATEGIES.glob("*.md")} == set(EXPECTED)
    assert {file.stem for file in STRATEGIES.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_strategy_does_what_its_page_says_or_is_refused(name: str, mesh: str) -> None:
    meshes, asked = EXPECTED[name]
    routes, faults = parse(strategy(name), "meshup:traffic", docs.known_services())
    compilation = compile_routes(routes, mesh, docs.known_services())
    assert not faults
    if mesh not in meshes:
        assert {fault.code for fault in errors(compilation.diagnostics)} == {"MSH131"}
        return
    assert not compilation.diagnostics, render(compilation.diagnostics)
    (plan,) = compilation.planned
    for path, headers, shares in asked:
        assert evaluate(plan, request_from(path, headers=headers)).shares == shares


@pytest.mark.parametrize("mesh", ["istio", "linkerd"])
@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_the_objects_of_a_strategy_are_valid_by_the_real_crds(name: str, mesh: str) -> None:
    routes, _ = parse(strategy(name), "meshup:traffic", docs.known_services())
    for item in compile_routes(routes, mesh, docs.known_services()).manifests:
        assert not faults_of_object(item)


def test_the_generated_pages_are_up_to_date() -> None:
    wanted = docs.pages(docs.DOCS)
    stale = [file.name for file, text in wanted.items() if not file.exists() or file.read_text() != text]
    assert not stale, "run `python -m operate.docs`"


def test_generating_twice_changes_nothing() -> None:
    assert docs.pages(docs.DOCS) == docs.pages(docs.DOCS)


@pytest.mark.parametrize("form", [RouteForm, RuleForm, MatchForm])
def test_every_key_of_the_grammar_is_in_the_documentation(form: type[Form]) -> None:
    text = (docs.DOCS / "traffic.md").read_text()
    assert [key for key in keys_of(form) if f"`{key}`" not in text and f"`{key}:" not in text] == []


PAGES = sorted([*docs.DOCS.rglob("*.md"), *docs.DOCS.parent.glob("*.md")])


def anchors(text: str) -> set[str]:
    """The anchors of a page: written ones, and those that GitHub makes of headings."""
    headings = re.findall(r"^#+ (.*)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(docs.DOCS.parent)))
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        place, _, anchor = link.partition("#")
        if "://" in link or place.startswith("mailto:"):
            continue
        target = page.parent / place if place else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link
