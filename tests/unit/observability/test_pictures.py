"""Pictures of dashboards: there is one for each, of the dashboard as it is now, and the documentation shows it."""

import re
from pathlib import Path

import pytest

from components.meshes import MESHES
from components.observability.dashboards import dashboards
from tests import promtool
from tests.pictures.__main__ import FOLDER, answering, digest, picture, shown

PAGE = Path(__file__).parents[3] / "docs" / "observability.md"


@pytest.mark.parametrize("name", shown())
def test_the_picture_of_a_dashboard_is_that_of_its_json(name: str) -> None:
    """After a change of dashboards: `python -m tests.pictures`."""
    drawn = re.search(r'data-dashboard="(\w+)"', (FOLDER / f"{name}.svg").read_text())
    assert drawn and drawn[1] == digest(shown()[name])


def test_there_is_no_other_picture_and_the_documentation_shows_each() -> None:
    there = {path.stem for path in FOLDER.iterdir()}
    in_page = set(re.findall(r"!\[[^]]+\]\(observability/([\w-]+)\.svg\)", PAGE.read_text()))
    assert there == in_page == set(shown())


@pytest.mark.nightly
@pytest.mark.parametrize("mesh", MESHES)
def test_a_real_prometheus_answers_every_query_and_the_pictures_are_of_its_answers(mesh: str) -> None:
    """An empty panel raises."""
    with answering(mesh, promtool.commands()) as source:
        for metrics in MESHES[mesh].metrics:
            for board in dashboards(metrics, mesh).values():
                assert picture(board, source)
        for name, board in shown().items() if mesh == "istio" else ():
            assert picture(board, source) == (FOLDER / f"{name}.svg").read_text()
