"""The distribution: what it holds, what it needs, and that what it installs works outside of this repository."""

import ast
import importlib.metadata
import json
import re
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

import components
from devcluster import paths
from tests.installed import Environment, built, run

_STATE = "gASVNwAAAAAAAACMGG1lc2h1cC5pZGVudGl0eS5yZXNvdXJjZZSME0NlcnRpZmljYXRlUHJvdmlkZXKUk5QpgZQu"
"""What the state of a stack holds for the provider of its certificates, where the package is installed."""


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return built(tmp_path_factory.mktemp("built"))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, distributions: tuple[Path, Path]) -> Environment:
    return Environment(tmp_path_factory.mktemp("environment"), distributions[1])


def _project() -> dict[str, Any]:
    return tomllib.loads((paths.repository() / "pyproject.toml").read_text())["project"]


def test_the_wheel_holds_every_file_of_the_components(distributions: tuple[Path, Path]) -> None:
    tracked = run("git", "ls-files", "components", folder=paths.repository()).split()
    wanted = {re.sub("^components/", "meshup/", name) for name in tracked}
    with zipfile.ZipFile(distributions[1]) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held >= wanted
    assert all(name.startswith("meshup/") for name in held)


def test_the_source_distribution_builds_the_same_wheel(distributions: tuple[Path, Path], tmp_path: Path) -> None:
    source, wheel = distributions
    run("tar", "--extract", "--strip-components=1", "--file", source, folder=tmp_path)
    _, again = built(tmp_path / "dist", tmp_path)
    assert again.read_bytes() == wheel.read_bytes()


def test_nothing_but_the_package_is_installed(environment: Environment) -> None:
    installed = {path.name for path in environment.packages.iterdir()} - {"dependencies.pth"}
    assert installed == {"meshup", f"meshup-{_project()['version']}.dist-info"}


def test_every_public_name_can_be_imported_from_the_package(environment: Environment, tmp_path: Path) -> None:
    code = "import json, meshup; print(json.dumps([getattr(meshup, name).__name__ for name in meshup.__all__]))"
    assert json.loads(environment.evaluate(code, tmp_path)) == components.__all__


def test_a_state_finds_the_provider_of_its_certificates(environment: Environment, tmp_path: Path) -> None:
    written = (
        "from meshup.identity.resource import CertificateProvider as P\n"
        "from pulumi.dynamic.dynamic import serialize_provider\n"
        "print(serialize_provider(P()))"
    )
    assert environment.evaluate(written, tmp_path).strip() == _STATE
    read = f"import base64, dill; print(type(dill.loads(base64.b64decode({_STATE!r}))).__name__)"
    assert environment.evaluate(read, tmp_path).strip() == "CertificateProvider"


def test_the_chart_of_the_routes_is_at_the_same_path_wherever_the_package_is(
    environment: Environment, tmp_path: Path
) -> None:
    code = "from meshup import charts; charts.ensure_routes(); charts.ensure_routes(); print(charts.ROUTES)"
    chart = environment.evaluate(code, tmp_path).strip()
    assert chart == "./.meshup/routes-2.0.0"
    source = paths.repository() / "components" / "charts" / "routes"
    for file in ("Chart.yaml", "values.yaml", "templates/objects.yaml"):
        assert (tmp_path / chart / file).read_bytes() == (source / file).read_bytes()
    assert {path.name for path in (tmp_path / ".meshup").iterdir()} == {".gitignore", "routes-2.0.0"}


def test_the_package_names_every_distribution_that_it_imports() -> None:
    trees = [ast.parse(path.read_text()) for path in (paths.repository() / "components").rglob("*.py")]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom) and not node.level}
    foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    providers = importlib.metadata.packages_distributions()
    needed = {Requirement(text).name for text in _project()["dependencies"]}
    # pydantic requires its own core and typing_extensions.
    assert {providers[name][0].replace("_", "-") for name in foreign} - {"pydantic-core", "typing-extensions"} == needed


def test_the_locked_versions_are_within_the_ranges_of_the_package() -> None:
    needed = [Requirement(text) for text in _project()["dependencies"]]
    locked = dict(
        re.findall(r"^([a-z-]+)==([^ ;]+)", (paths.repository() / "requirements.txt").read_text(), re.MULTILINE)
    )
    assert needed
    for requirement in needed:
        assert locked[requirement.name.lower()] in requirement.specifier, requirement
        assert importlib.metadata.version(requirement.name) in requirement.specifier, requirement
