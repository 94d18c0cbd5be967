"""What tests at several levels share: the tools, one embedded cluster per session, copies of the program."""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from devcluster import paths
from devcluster.embedded import Embedded
from devcluster.progress import Progress
from devcluster.stack import Stack
from devcluster.stackfile import Setting, with_settings

# What the program is made of; a copy of it needs nothing else of the repository.
_PROGRAM = ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py", "components", "stacks")

Programs = Callable[..., Stack]


@pytest.fixture(scope="session")
def embedded() -> Iterator[Embedded]:
    """One embedded cluster for the whole session, empty of any mesh until a test installs one."""
    subject = Embedded(f"test-{os.getpid()}")
    with Progress() as progress:
        subject.toolbox.ensure(progress=progress)
        try:
            subject.cluster.up(subject.toolbox, progress)
            yield subject
        finally:
            subject.down(progress)


@pytest.fixture(scope="session")
def full(embedded: Embedded) -> Embedded:
    """The cluster where pods are real; the tests that need it skip where namespaces are not allowed."""
    if embedded.cluster.mode != "full":
        pytest.skip(f"needs network namespaces: {embedded.cluster.reason}")
    return embedded


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
