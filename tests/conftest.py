"""What tests at several levels share: embedded clusters, copies of the program, and how tests spread over workers.

With pytest-xdist every worker has a session, so its own clusters; their names carry the worker's process id.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs] - xdist has none
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] - xdist has none

from devcluster import netns, paths
from devcluster.cluster import Mode
from devcluster.embedded import Embedded
from devcluster.progress import Progress
from devcluster.stack import Stack
from devcluster.stackfile import Setting, with_settings

# What the program is made of; a copy of it needs nothing else of the repository.
_PROGRAM = ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py", "components", "stacks")

Programs = Callable[..., Stack]

# What takes longest begins first; what is not here needs no cluster and fills the time in which the others wait.
_LONGEST_FIRST = (
    "dataplane/test_make_up.py",
    "dataplane",
    "cluster/test_linkerd_mesh.py",
    "cluster/test_provider_features.py",
    "cluster/test_provider_parity.py",
    "cluster/test_embedded_cluster.py",
    "cluster",
)

# It destroys its mesh, so it has one of its own.
_OWN_MESH = ("test_make_up.py",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under xdist, begin with what takes longest."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        return
    tests = Path(__file__).parent

    def rank(item: pytest.Item) -> int:
        path = item.path.relative_to(tests)
        found = (number for number, start in enumerate(_LONGEST_FIRST) if path.is_relative_to(start))
        return next(found, len(_LONGEST_FIRST))

    items.sort(key=rank)


class Groups(LoadScopeScheduling):
    """Gives one worker a whole file at a time, or all the tests that share a mesh.

    The groups of xdist itself (`--dist=loadgroup`) have no effect with pytest 9: they are written into `_nodeid`, which
    it does not read any more (pytest-xdist 3.8.0, xdist/remote.py).
    """

    def _split_scope(self, nodeid: str) -> str:
        path = Path(nodeid.split("::", maxsplit=1)[0])
        return "mesh" if "dataplane" in path.parts and path.name not in _OWN_MESH else str(path)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Groups:
    """Spread the tests by `Groups`."""
    return Groups(config, log)


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """One cluster for all tests of a session that need an API and no real pod, empty of any mesh between modules."""
    yield from _cluster(f"test-{os.getpid()}", "api")


@pytest.fixture(scope="session")
def full() -> Iterator[Embedded]:
    """One cluster where pods are real; the tests that need it skip where namespaces are not allowed."""
    support = netns.supported()
    if not support.full:
        pytest.skip(f"needs network namespaces: {support.reason}")
    yield from _cluster(f"mesh-{os.getpid()}", "full")


def _cluster(name: str, mode: Mode) -> Iterator[Embedded]:
    subject = Embedded(name)
    with Progress() as progress:
        subject.toolbox.ensure(progress=progress)
        if mode == "full" and (reason := subject.toolbox.reason("iptables")):
            pytest.skip(f"needs iptables: {reason}")
        try:
            subject.cluster.up(subject.toolbox, progress, mode=mode)
            yield subject
        finally:
            subject.down(progress)


def copied_program(folder: Path) -> Path:
    """Copy the program, as it is now, into a folder of its own."""
    folder.mkdir(parents=True)
    for name in _PROGRAM:
        source = paths.repository() / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(paths.repository() / ".venv")
    return folder


def prepared_program(embedded: Embedded, folder: Path, settings: Mapping[str, Setting]) -> Stack:
    """Return a stack of a copy of the program, configured for the cluster, with further settings."""
    state = folder / "state"
    stack = embedded.stack_of(copied_program(folder / "program"), state, state / "passphrase", "test")
    state.mkdir()
    embedded.prepare(stack)
    stack.file.write_text(with_settings(stack.file.read_text(), settings))
    return stack


@pytest.fixture
def program(embedded: Embedded, tmp_path: Path) -> Iterator[Programs]:
    """Give copies of the program, each with its own state; what they deployed is destroyed after the test."""
    made: list[Stack] = []

    def make(settings: Mapping[str, Setting] | None = None) -> Stack:
        made.append(prepared_program(embedded, tmp_path / str(len(made)), settings or {}))
        return made[-1]

    yield make
    for stack in made:
        stack.recover()
        stack.run(["destroy", "--yes", "--skip-preview"], quiet=True)
