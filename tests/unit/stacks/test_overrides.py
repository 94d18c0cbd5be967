"""One set of routes in a shared file, with fields that a stack has in another way."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.diagnostics import Diagnostic, errors
from components.diagnostics.validation import join
from stacks import overrides, plan, settings, traffic_file
from stacks.outputs import overridden
from stacks.overrides import Origins
from stacks.settings import Settings
from tests.unit.stacks.configs import NOW, raw

SHARED = """\
reviews:
  namespace: bookinfo
  rules:
    - {name: testers, match: {headers: {end-user: jason}}, backends: {v2: 100}, timeout: 2s}
    - {name: rest, backends: {v1: 90, v3: 10}, retries: {attempts: 2, conditions: [5xx, reset]}}
ratings: {namespace: bookinfo, split: {v1: 100}}
"""


def merged(changes: dict[str, Any], folder: Path, shared: str = SHARED) -> tuple[Settings, list[Diagnostic]]:
    """The settings of a stack with the shared file, and all diagnostics of its routes."""
    (folder / "routes.yaml").write_text(shared)
    config = raw(traffic={}, trafficFile="routes.yaml", trafficOverrides=changes)
    chosen, found = settings.load(config, "dev")
    chosen, more = traffic_file.with_file(chosen, folder)
    diagnostics = [*found, *more, *plan.compiled(chosen, NOW)[1]]
    return chosen, overrides.located(diagnostics, chosen.origins)


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        ({"ratings": {"api": "istio"}}, ("ratings", "api"), "istio"),
        (
            {"reviews": {"rules": {"rest": {"backends": {"v1": 50, "v3": 50}}}}},
            ("reviews", "rules", 1, "backends", "v3"),
            50,
        ),
        ({"reviews": {"rules": {"0": {"timeout": "3s"}}}}, ("reviews", "rules", 0, "timeout"), "3s"),
        (
            {"reviews": {"rules": {0: {"timeout": {"request": "3s"}}}}},
            ("reviews", "rules", 0, "timeout"),
            {"request": "3s"},
        ),
        (
            {"reviews": {"rules": {"rest": {"retries": {"conditions": ["503"]}}}}},
            ("reviews", "rules", 1, "retries"),
            {"attempts": 2, "conditions": ["503"]},
        ),
    ],
)
def test_mappings_merge_and_all_else_replaces(
    tmp_path: Path, changes: dict[str, Any], field: tuple[Any, ...], value: Any
) -> None:
    chosen, diagnostics = merged(changes, tmp_path)
    found: Any = chosen.traffic
    for key in field:
        found = found[key]
    assert found == value
    assert errors(diagnostics) == []
    rest = yaml.safe_load(SHARED)
    assert chosen.traffic.keys() == rest.keys()
    assert sum(chosen.traffic[key] != rest[key] for key in rest) == 1, "no other route changes"


def test_each_override_is_reported_with_what_is_shared(tmp_path: Path) -> None:
    changes = {"reviews": {"rules": {"rest": {"backends": {"v1": 50, "v3": 50}}}}}
    chosen, diagnostics = merged(changes, tmp_path)
    assert [(note.code, note.severity, note.path, note.value, note.message) for note in diagnostics] == [
        ("MSH185", "info", f"meshup:trafficOverrides.reviews.rules.rest.backends.{version}", 50, message)
        for version, message in (("v1", "routes.yaml has 90 here."), ("v3", "routes.yaml has 10 here."))
    ]
    fields = {"rules[1].backends.v1": 50, "rules[1].backends.v3": 50}
    assert overridden(chosen) == {"trafficOverrides": {"reviews": fields}}


def test_without_overrides_nothing_is_said_and_there_is_no_output(tmp_path: Path) -> None:
    chosen, diagnostics = merged({}, tmp_path)
    assert (chosen.traffic, diagnostics, overridden(chosen)) == (yaml.safe_load(SHARED), [], {})


@pytest.mark.parametrize(
    ("changes", "path", "remedy"),
    [
        ({"rating": {"split": {"v1": 100}}}, "rating", "Did you mean 'ratings'?"),
        ({"reviews": {"rules": {"tester": {}}}}, "reviews.rules.tester", "Did you mean 'testers'?"),
        ({"reviews": {"rules": {"2": {}}}}, "reviews.rules.2", "Name a route"),
    ],
)
def test_what_is_not_there_is_refused_with_the_nearest(
    tmp_path: Path, changes: dict[str, Any], path: str, remedy: str
) -> None:
    (fault,) = merged(changes, tmp_path)[1]
    assert (fault.code, fault.path) == ("MSH184", f"meshup:trafficOverrides.{path}")
    assert fault.remedy.startswith(remedy)


def test_a_field_that_no_route_has_is_refused_where_it_stands(tmp_path: Path) -> None:
    changes = {"reviews": {"rules": {"rest": {"timout": "2s"}}}, "ratings": {"split": {"v9": 0}}}
    faults = errors(merged(changes, tmp_path)[1])
    assert {(fault.code, fault.path) for fault in faults} == {
        ("MSH002", "meshup:trafficOverrides.reviews.rules.rest.timout"),
        ("MSH107", "meshup:trafficOverrides.ratings.split.v9"),
    }


def test_a_fault_of_the_file_is_reported_at_the_file(tmp_path: Path) -> None:
    shared = SHARED.replace("timeout: 2s", "timeout: 2")
    (fault,) = errors(merged({"ratings": {"api": "istio"}}, tmp_path, shared)[1])
    assert (fault.code, fault.path) == ("MSH001", "routes.yaml: reviews.rules[0].timeout")


def test_weights_of_two_places_that_do_not_sum_to_100_name_both(tmp_path: Path) -> None:
    (fault,) = errors(merged({"reviews": {"rules": {"rest": {"backends": {"v1": 50}}}}}, tmp_path)[1])
    assert (fault.code, fault.path) == ("MSH110", "routes.yaml: reviews.rules[1].backends")
    assert "sum to 60" in fault.message
    assert "meshup:trafficOverrides.reviews.rules.rest.backends.v1 is this stack's own" in fault.message


def test_an_override_that_is_no_mapping_is_refused(tmp_path: Path) -> None:
    assert [fault.code for fault in merged({"reviews": 5}, tmp_path)[1]] == ["MSH001"]


def test_the_same_route_twice_is_refused_and_the_remedy_names_the_overrides(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text(SHARED)
    chosen = settings.load(raw(trafficFile="routes.yaml"), "dev")[0]
    (fault,) = traffic_file.with_file(chosen, tmp_path)[1]
    assert fault.code == "MSH030"
    assert "meshup:trafficOverrides" in fault.remedy


def test_routes_of_the_stack_itself_and_of_the_project_can_be_overridden_too() -> None:
    config = raw(trafficOverrides={"reviews": {"split": {"v1": 50, "v2": 50}}})
    chosen, notes = traffic_file.with_file(settings.load(config, "dev")[0], Path())
    assert chosen.traffic["reviews"]["split"] == {"v1": 50, "v2": 50}
    assert [note.message for note in notes] == ["meshup:traffic has 90 here.", "meshup:traffic has 10 here."]


PLAIN = st.recursive(
    st.none() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc01", max_size=2), inner, max_size=3),
    max_leaves=8,
)
ROUTES = st.dictionaries(st.sampled_from(["a", "b"]), st.dictionaries(st.text("abc01", max_size=2), PLAIN, max_size=3))


@given(ROUTES, st.dictionaries(st.sampled_from(["a", "b", "c"]), PLAIN))
def test_merging_changes_nothing_but_the_fields_that_it_reports(
    routes: dict[str, Any], changes: dict[str, Any]
) -> None:
    before = json.dumps(routes)
    found, origins, diagnostics = overrides.merge(routes, changes, Origins())
    assert json.dumps(routes) == before, "the shared routes stay as they are"
    assert len([note for note in diagnostics if note.code == "MSH185"]) == len(origins.overrides)
    paths = {path: value for path, value in _leaves(found) if (path, value) not in list(_leaves(routes))}
    for path in paths:
        assert any(path == o.path or path.startswith((f"{o.path}.", f"{o.path}[")) for o in origins.overrides)


def _leaves(value: Any, path: str = "meshup:traffic") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, item in cast("dict[str, Any]", value).items():
            yield from _leaves(item, join(path, key))
    elif isinstance(value, list) and value:
        for place, item in enumerate(cast("list[Any]", value)):
            yield from _leaves(item, f"{path}[{place}]")
    else:
        yield path, value
