"""The Pulumi stack of the embedded cluster: its configuration file, its private backend, and the runs of `pulumi`.

Everything is where a user's own Pulumi would not look: the state, the plugins and the passphrase are in the cluster's
folder. The program itself is run as any user runs it, by its configuration and by KUBECONFIG alone.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import cast

import psutil

from devcluster import stackfile
from devcluster.stackfile import Setting
from operate.terminal import exit_code

TEMPLATE = "Pulumi.dev.yaml"
_LOCKS = ".pulumi/locks"
_HELM_SECONDS = 120


class StackError(Exception):
    """A run of Pulumi can't go on. The message says why and what to do."""


@dataclass(frozen=True)
class Lock:
    """A lock of Pulumi's file backend: who works on the stack. Source: pulumi v3.200.0, pkg/backend/diy/lock.go."""

    file: Path
    pid: int
    host: str
    since: float


@dataclass(frozen=True)
class Stack:
    """One stack in a private file backend.

    Attributes:
        project: The folder of Pulumi.yaml.
        state: The folder for the backend and the plugins; it goes with the cluster.
        passphrase: The file with the passphrase, private to its user. It stays, because the configuration file may hold
            values that only it opens.
        environment: The environment with the tools and KUBECONFIG.
        wrap: Turns a command into one that runs where the cluster can be reached.
        name: The stack's name.
    """

    project: Path
    state: Path
    passphrase: Path
    environment: Mapping[str, str] = field(repr=False)
    wrap: Callable[[Sequence[str]], list[str]] = list
    name: str = "embedded"

    @property
    def file(self) -> Path:
        """The stack's configuration file."""
        return self.project / f"Pulumi.{self.name}.yaml"

    @property
    def backend(self) -> Path:
        """The folder of the file backend."""
        return self.state / "pulumi"

    @property
    def backend_url(self) -> str:
        """The backend as Pulumi takes it.

        Without metadata: the file `.attrs` beside each state is not written at once, and if a run is killed while it is
        empty, Pulumi can't load the state any more (gocloud.dev 0.37, blob/fileblob; "failed to load checkpoint: EOF").
        """
        return f"file://{self.backend}?metadata=skip"

    def env(self) -> dict[str, str]:
        """Return the environment in which `pulumi` works on this stack without any further argument."""
        kept = {key: value for key, value in self.environment.items() if key not in _FOREIGN}
        return kept | {
            "PULUMI_BACKEND_URL": self.backend_url,
            "PULUMI_HOME": str(self.state / "pulumi-home"),
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "1",
            "PULUMI_STACK": self.name,
        }

    def shell_env(self) -> dict[str, str]:
        """Return the environment of a shell, where `pulumi stack select` chooses: PULUMI_STACK would override it
        without a word (pulumi v3.200.0, pkg/backend/state/stacks.go). `prepare` has selected this stack.
        """
        return {key: value for key, value in self.env().items() if key != "PULUMI_STACK"}

    def prepare(self, settings: Mapping[str, Setting], template: str | None = None) -> None:
        """Make the configuration file, the passphrase and the stack, those that do not exist.

        Args:
            settings: The cluster's own configuration keys. Only these are set in a file that exists.
            template: The text of a new configuration file, if it is not that of Pulumi.dev.yaml.

        Raises:
            StackError: The configuration file can't be used.
        """
        for folder in (self.backend, self.state / "pulumi-home"):
            folder.mkdir(parents=True, exist_ok=True)
        fresh = not self.passphrase.exists()
        if fresh:
            _write_private(self.passphrase, secrets.token_urlsafe(32))
        origin = self.file if self.file.exists() else self.project / TEMPLATE
        text = origin.read_text() if origin.exists() else ""
        if template is not None and origin != self.file:
            text = template
        try:
            # A salt is checked against the passphrase it was made with; a new passphrase makes a new one.
            if stackfile.has_secrets_provider(text) and (fresh or origin != self.file):
                text = stackfile.without_secrets_provider(text)
            edited = stackfile.with_settings(text, settings)
        except ValueError as error:
            if fresh:
                self.passphrase.unlink()
            raise StackError(
                f"{origin.name} can't be used: {error}\nCorrect it, or delete it to start anew."
            ) from error
        if not self.file.exists() or self.file.read_text() != edited:
            self.file.write_text(edited)
        if not self.exists:
            self.run(["stack", "init", self.name], quiet=True)
        self.run(["stack", "select", self.name], quiet=True)

    def keep_only_for(self, cluster: str) -> None:
        """Forget the state if it describes another cluster than this one: what it names went with that one.

        Args:
            cluster: What tells one cluster from the next of the same name.
        """
        record = self.backend / "cluster"
        if record.exists() and record.read_text() != cluster:
            forget(self.state)
        self.backend.mkdir(parents=True, exist_ok=True)
        record.write_text(cluster)

    def up(self) -> None:
        """Run `pulumi up` and show what it says.

        Raises:
            StackError: Another run holds the stack, or the run failed.
        """
        self.recover()
        self.run(["up", "--yes", "--skip-preview", "--suppress-outputs"])

    def outputs(self) -> dict[str, object]:
        """Return the stack outputs; secrets are masked.

        Raises:
            StackError: There is no such stack.
        """
        return cast("dict[str, object]", json.loads(self.run(["stack", "output", "--json"], quiet=True) or "{}"))

    def recover(self) -> None:
        """Clear away what a killed run left on this machine: its lock and its orphaned plugins.

        What it left in the cluster is recovered by the program, on every cluster (docs/decisions/0001-recovery.md).

        Raises:
            StackError: A live run holds the stack.
        """
        locks = [read for file in (self.backend / _LOCKS).rglob("*.json") if (read := read_lock(file)) is not None]
        for lock in locks:
            if holder_lives(lock):
                since = datetime.fromtimestamp(lock.since).astimezone().strftime("%H:%M:%S")
                raise StackError(
                    f"Another run works on this stack: pid {lock.pid} on {lock.host}, since {since}.\n"
                    f"Wait for it, or end it with `kill {lock.pid}`, and run the same command again."
                )
        if locks:
            self.run(["cancel", "--yes", self.name], quiet=True)
            self._end_orphans()

    def run(self, arguments: Sequence[str], *, quiet: bool = False) -> str:
        """Run `pulumi` on this stack and return what it printed, or show it, unless `quiet`, as it comes.

        Raises:
            StackError: It failed.
        """
        argv = self.wrap(["pulumi", "--non-interactive", *arguments])
        if not quiet:
            if run_in_foreground(argv, self.project, self.env()) != 0:
                raise StackError(f"`pulumi {arguments[0]}` failed; its report is above.")
            return ""
        done = subprocess.run(
            argv,
            cwd=self.project,
            env=self.env(),
            check=False,
            text=True,
            capture_output=True,
            stdin=subprocess.DEVNULL,
        )
        if done.returncode != 0:
            raise StackError(f"`pulumi {arguments[0]}` failed:\n{(done.stderr or done.stdout).strip()}")
        return done.stdout

    @property
    def exists(self) -> bool:
        """Whether the backend has the stack."""
        return any((self.backend / ".pulumi" / "stacks").glob(f"*/{self.name}.json"))

    def _end_orphans(self) -> None:
        """End the plugins of a killed run. A helm at work is waited for: cut short, it leaves half a release."""
        deadline = time.monotonic() + _HELM_SECONDS
        left = orphans(self.backend_url)
        while any(_name(process) == "helm" for process in left) and time.monotonic() < deadline:
            time.sleep(0.5)
            left = orphans(self.backend_url)
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.terminate()
        _, stuck = psutil.wait_procs(left, timeout=10)
        for process in stuck:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


_PLUGINS = {
    "helm",
    "pulumi-language-python",
    "pulumi-language-python-exec",
    "pulumi-resource-kubernetes",
    "pulumi-resource-pulumi-python",
}
_PLUGIN_MODULES = {"devcluster.provider", "pulumi.dynamic"}
"""What a script of these runs by `python -m`."""
_FOREIGN = ("PULUMI_ACCESS_TOKEN", "PULUMI_CONFIG_PASSPHRASE", "PULUMI_IGNORE_AMBIENT_PLUGINS", "PULUMI_CONFIG")


def run_in_foreground(argv: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> int:
    """Run a command in the foreground and return its exit code: 128 + N if signal N has ended it. Ctrl-C
    is left to the command, which ends in order.
    """
    with _interrupts_to_child(), subprocess.Popen(list(argv), cwd=cwd, env=dict(environment)) as process:
        return exit_code(process.wait())


@contextlib.contextmanager
def _interrupts_to_child() -> Generator[None]:
    """Ignore SIGINT, from before the child starts: it may come at any moment. By a handler and not by
    SIG_IGN, which a child would inherit.
    """
    before = signal.getsignal(signal.SIGINT)
    # An ignored signal, as in the background of a shell, stays so; and only the main thread has handlers.
    if before is signal.SIG_IGN or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGINT, _ignore)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _ignore(_number: int, _frame: FrameType | None) -> None:
    return


def stack_name(cluster: str, default: str, example: str = "") -> str:
    """Return the name of a cluster's stack: `embedded`, or `embedded-NAME` beside the default one; an example has its
    own, `EXAMPLE.embedded`, so that its configuration file is not that of another stack.
    """
    name = "embedded" if cluster == default else f"embedded-{cluster}"
    return f"{name}.{example}" if example else name


def forget(state: Path) -> None:
    """Remove a stack's state and plugins; its configuration file and its passphrase stay."""
    for folder in ("pulumi", "pulumi-home"):
        shutil.rmtree(state / folder, ignore_errors=True)


def read_lock(file: Path) -> Lock | None:
    """Return a lock from its file, or None when it went away meanwhile or is half-written."""
    try:
        content = cast("dict[str, object]", json.loads(file.read_text()))
        since = datetime.fromisoformat(str(content["timestamp"])).timestamp()
        return Lock(file, int(str(content["pid"])), str(content["hostname"]), since)
    except (OSError, ValueError, KeyError):
        return None


def holder_lives(lock: Lock) -> bool:
    """Say whether the process that took a lock is still there; on another machine it is taken to be."""
    if lock.host != socket.gethostname():
        return True
    try:
        process = psutil.Process(lock.pid)
        # A process that began after the lock was taken only has the same number.
        return process.create_time() <= lock.since + 1 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def orphans(backend_url: str) -> list[psutil.Process]:
    """Return the plugins that a killed `pulumi` on this backend left running."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("PULUMI_BACKEND_URL") != backend_url or not _is_plugin(process.cmdline()):
                continue
            if not any(parent.name() == "pulumi" for parent in process.parents()):
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""


def _is_plugin(cmdline: Sequence[str]) -> bool:
    names = {Path(part).name for part in cmdline[:3]}
    return not (names.isdisjoint(_PLUGINS) and _PLUGIN_MODULES.isdisjoint(cmdline))


def _write_private(file: Path, text: str) -> None:
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
