"""What tests at several levels share: embedded clusters, copies of the program, and how tests spread over workers.

With pytest-xdist every worker has a session, so its own clusters; their names carry the worker's process id.
"""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import HealthCheck, settings
from xdist.remote import Producer  # pyright: ignore[reportMissingTypeStubs] - xdist has none
from xdist.scheduler import LoadScopeScheduling  # pyright: ignore[reportMissingTypeStubs] - xdist has none
from xdist.workermanage import WorkerController  # pyright: ignore[reportMissingTypeStubs] - xdist has none

from devcluster import netns, paths
from devcluster.cluster import Mode
from devcluster.embedded import Embedded
from devcluster.progress import Progress
from devcluster.stack import Stack
from devcluster.stackfile import Setting, with_settings

# What Hypothesis asserts of time by default would be a test of the machine.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

# What the program is made of; a copy of it needs nothing else of the repository.
_PROGRAM = ("Pulumi.yaml", "Pulumi.dev.yaml", "__main__.py", "components", "kubeaccess", "stacks")

ONE_CHECKPOINT = {"PULUMI_SKIP_CHECKPOINTS": "1"}
"""Has Pulumi write the state once, in the end, and not twice for every resource, which is most of the work of an `up`
(docs/decisions/0002-scale.md). For tests in which nobody kills Pulumi: to them it makes no difference."""

# The longest chains begin first, by their seconds in a run of all tests on two cores; what is not here needs no cluster
# and fills the time in which the others wait. A long file that begins last leaves the other workers idle until it ends.
_LONGEST_FIRST = (
    "dataplane/traffic",
    "cluster/test_linkerd_mesh.py",
    "cluster/test_security.py",
    "dataplane/test_make_up.py",
    "cluster/test_provider_parity.py",
    "cluster/test_provider_features.py",
    "cluster/test_pages.py",
    "cluster/test_delivery.py",
    "cluster/test_existing_mesh.py",
    "cluster/test_embedded_cluster.py",
    "cluster/test_linkerd_walkthrough.py",
    "cluster",
    "dataplane",
)

# It destroys its mesh, so it has one of its own.
_OWN_MESH = ("test_make_up.py",)


def nightly() -> bool:
    """Whether hypothesis' profile asks for many examples: then tests take the time for more cases."""
    return os.environ.get("HYPOTHESIS_PROFILE") == "nightly"


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

    def _reschedule(self, node: WorkerController) -> None:
        """Give a worker its next file when it needs it to begin its last test, which has to know the next one.

        xdist does so while two tests are left: then a file waits behind both, each of which may take minutes.
        """
        if self._pending_of(self.assigned_work[node]) <= 1:
            super()._reschedule(node)


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
            shutil.copytree(source, folder / name)
        else:
            shutil.copy(source, folder / name)
    (folder / ".venv").symlink_to(paths.repository() / ".venv")
    return folder


def prepared_program(
    embedded: Embedded, folder: Path, settings: Mapping[str, Setting], *, checkpoints: bool = True
) -> Stack:
    """Return a stack of a copy of the program, configured for the cluster, with further settings.

    Args:
        embedded: The cluster.
        folder: For the copy, the backend and Pulumi's own files.
        settings: Configuration keys beside the cluster's own.
        checkpoints: False where nobody kills Pulumi (`ONE_CHECKPOINT`).
    """
    state = folder / "state"
    stack = embedded.stack_of(copied_program(folder / "program"), state, state / "passphrase", "test")
    if not checkpoints:
        stack = replace(stack, environment={**stack.environment, **ONE_CHECKPOINT})
    state.mkdir()
    embedded.prepare(stack)
    stack.file.write_text(with_settings(stack.file.read_text(), settings))
    return stack


def as_account(embedded: Embedded, stack: Stack, folder: Path, name: str) -> Stack:
    """Return the stack with the credentials of a new account, which has no rights yet (`grant`).

    Args:
        embedded: The cluster.
        stack: A stack of it.
        folder: For the kubeconfig.
        name: Of a ServiceAccount in the namespace `default`, which is made.
    """
    embedded.toolbox.ensure(["kubectl"])
    _kubectl(embedded, "create", "serviceaccount", name)
    token = _kubectl(embedded, "create", "token", name, "--duration=8h").strip()
    config = yaml.safe_load(embedded.cluster.kubeconfig.read_text())
    for user in config["users"]:
        user["user"] = {"token": token}
    file = folder / f"{name}.kubeconfig"
    file.write_text(yaml.safe_dump(config))
    return replace(stack, environment={**stack.environment, "KUBECONFIG": str(file)})


def grant(embedded: Embedded, name: str, mesh: str) -> None:
    """Give an account the rights that the documentation lists for a mesh (docs/rbac)."""
    _kubectl(embedded, "apply", "--filename", str(paths.repository() / "docs" / "rbac" / f"{mesh}.yaml"))
    account = f"--serviceaccount=default:{name}"
    _kubectl(embedded, "create", "clusterrolebinding", f"{name}-{mesh}", f"--clusterrole=meshup-{mesh}", account)


def _kubectl(embedded: Embedded, *arguments: str) -> str:
    argv = embedded.cluster.exec_argv(["kubectl", "--namespace", "default", *arguments])
    done = subprocess.run(argv, env=embedded.environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def program(embedded: Embedded, folder: Path, settings: Mapping[str, Setting]) -> Generator[Stack]:
    """Give a stack of a copy of the program; what it deployed is destroyed in the end."""
    stack = prepared_program(embedded, folder, settings, checkpoints=False)
    try:
        yield stack
    finally:
        stack.recover()
        stack.run(["destroy", "--yes", "--skip-preview"], quiet=True)
