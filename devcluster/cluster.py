"""The control plane of an embedded cluster: etcd, API server, controller manager, scheduler, kwok, and the kubelet.

In mode `full` all of it runs in one network namespace of its own, where pod addresses are local and every port is the
usual one. In mode `api` it runs on loopback at free ports; then nothing can be called at a pod's address.
`devcluster.components` says which pods are kwok's and which the kubelet's.

`up` may be killed at any moment: each process is recorded as soon as it runs, and one that was not recorded yet is
found by the marker in its environment (`devcluster.processes`). The next `up` ends it and starts anew.
"""

import contextlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from filelock import FileLock, Timeout

from devcluster import arguments, components, files, paths, processes
from devcluster.components import Layout
from devcluster.files import FilesError
from devcluster.kubelet import registry
from devcluster.netns import Namespace, NamespaceError
from devcluster.processes import ProcessId
from devcluster.progress import Progress
from devcluster.readiness import Question

Mode = Literal["full", "api"]
MODE_VARIABLE = "MESHUP_DEVCLUSTER_MODE"
"""Set to `api` it forces that mode, for example to see what a machine without namespaces would."""

NAMESPACE = "network namespace"
KUBELET = "kubelet"
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")
_AFTER_API = CONTROL_PLANE[2:]

_READY_SECONDS = 90.0
_LOG_LINES = 15
_POLL_SECONDS = 0.05


class ClusterError(Exception):
    """The cluster can't do what was asked. The message says why and what helps."""


@contextlib.contextmanager
def _reported() -> Generator[None]:
    """Turn a full disk, a folder that can't be written, or a lack of ports into a ClusterError."""
    try:
        yield
    except (OSError, FilesError) as error:
        raise ClusterError(str(error)) from error


class Tools(Protocol):
    """What the cluster needs of `toolchain.Toolbox`."""

    def path(self, tool: str) -> Path:
        """Return where a tool is."""
        ...

    def reason(self, tool: str) -> str | None:
        """Return why a tool can't be had, or None when it can."""
        ...

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return an environment with the tools on PATH."""
        ...


@dataclass(frozen=True)
class State:
    """What is remembered of a cluster between commands, in `cluster.json`."""

    marker: str
    """The cluster's random id, in the environment of all its processes."""
    mode: Mode
    reason: str
    """Why the mode is not `full`."""
    ports: Mapping[str, int]
    nodes: int
    processes: Mapping[str, ProcessId] = field(default_factory=dict[str, ProcessId])
    """By role. Those that have ended stay until the next `up`."""

    def to_json(self) -> str:
        """Return the text of `cluster.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "State":
        """Read the text of `cluster.json`.

        Raises:
            ValueError: It is not what `to_json` writes.
        """
        try:
            raw = cast("dict[str, Any]", json.loads(text))
            recorded = cast("dict[str, dict[str, Any]]", raw.pop("processes"))
            return cls(**raw, processes={role: ProcessId(**process) for role, process in recorded.items()})
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a cluster's state: {error}") from error

    def alive(self, role: str) -> bool:
        """Whether a role's process runs."""
        process = self.processes.get(role)
        return process is not None and process.alive


@dataclass(frozen=True)
class ProcessStatus:
    """One process of a cluster."""

    role: str
    pid: int
    alive: bool
    log: Path


@dataclass(frozen=True)
class Status:
    """How a cluster is."""

    name: str
    directory: Path
    exists: bool
    ready: bool
    """All processes run, the API answers, and every node takes pods."""
    mode: Mode | None = None
    reason: str = ""
    kubeconfig: Path | None = None
    processes: tuple[ProcessStatus, ...] = ()
    nodes: Mapping[str, str] = field(default_factory=dict[str, str])
    """By name: what keeps pods off a node, empty if nothing does."""
    pods: Mapping[str, int] = field(default_factory=dict[str, int])
    """Number of pods by phase."""
    fault: str = ""
    """Why the API does not answer."""


class Cluster:
    """One embedded cluster, by name. Commands of several processes on it are safe at the same time."""

    def __init__(self, name: str) -> None:
        """Name a cluster; nothing is done yet.

        Raises:
            ValueError: The name is not a valid one.
        """
        self.name = name
        self.directory = paths.cluster_dir(name)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig; its context is `meshup-<name>`. It works inside `exec_argv`."""
        return self.directory / "kubeconfig"

    @property
    def context(self) -> str:
        """The name of the kubeconfig's context."""
        return f"meshup-{self.name}"

    @property
    def mode(self) -> Mode:
        """`full` or `api`.

        Raises:
            ClusterError: The cluster does not exist.
        """
        return self._state().mode

    @property
    def reason(self) -> str:
        """Why the mode is not `full`; empty if it is.

        Raises:
            ClusterError: The cluster does not exist.
        """
        return self._state().reason

    @property
    def runs_pods(self) -> bool:
        """Whether istiod and pods with a sidecar run as processes, so that webhooks and traffic are real.

        Raises:
            ClusterError: The cluster does not exist.
        """
        return self.mode == "full"

    def environment(self) -> dict[str, str]:
        """Return the variables that lead commands, started through `exec_argv`, to this cluster."""
        # "*" keeps every client from a proxy: nothing outside can be reached from a namespace anyway.
        bypass = "*" if self.mode == "full" else f"{components.LOOPBACK},localhost"
        return {
            "KUBECONFIG": str(self.kubeconfig),
            paths.CLUSTER_VARIABLE: self.name,
            "NO_PROXY": bypass,
            "no_proxy": bypass,
        }

    def exec_argv(self, command: Sequence[str]) -> list[str]:
        """Return the argument list that runs a command where the cluster's addresses lead somewhere.

        Raises:
            ClusterError: The cluster is not up.
        """
        return self._argv(self._state(), command)

    def up(self, tools: Tools, progress: Progress, *, mode: Mode | None = None, nodes: int = 1) -> None:
        """Bring the cluster up, or back up: start what does not run, and wait until all is well.

        Args:
            tools: Where the binaries are. They exist already.
            progress: Shows the steps.
            mode: `api` to do without namespaces even where they are allowed; None takes the best that is.
            nodes: How many nodes to have. Nodes that exist stay.

        Raises:
            ClusterError: A component does not come up, or namespaces are demanded and not allowed.
        """
        wanted = mode or cast("Mode | None", os.environ.get(MODE_VARIABLE) or None)
        if wanted not in (None, "full", "api"):
            raise ClusterError(f"{MODE_VARIABLE} is {wanted!r}; it can be 'full' or 'api'")
        with _reported(), self._lock(progress):
            state = self._prepared(self._load(), wanted, tools, nodes, progress)
            state = self._start_all(state, tools, progress)
            if state.mode == "api":
                progress.say(f"Mode api, without injection and measured traffic: {state.reason}.")

    def down(self, progress: Progress | None = None) -> None:
        """End exactly what `up` started, and remove the cluster's namespaces and files. Harmless if there is nothing.

        Raises:
            ClusterError: A process can't be ended, or something is still mounted in the cluster's folder.
        """
        with _reported(), self._lock(progress):
            state = self._load()
            if state is None:
                files.remove(self.directory)
                return
            recorded = state.processes
            # The kubelet ends its pods, which takes their grace periods; its own children go with it.
            processes.end([recorded[KUBELET]] if KUBELET in recorded else [], grace_seconds=20.0)
            components_first = [process for role, process in recorded.items() if role != NAMESPACE]
            stuck = processes.end(components_first, grace_seconds=1.0)
            holder = recorded.get(NAMESPACE)
            keep = {holder} if holder else set[ProcessId]()
            stuck += processes.end([p for p in processes.with_marker(state.marker) if p not in keep], grace_seconds=2.0)
            if stuck:
                raise ClusterError(f"these processes can't be ended: {', '.join(str(p.pid) for p in stuck)}")
            if holder and holder.alive:
                self._empty_from_inside(state)
                Namespace(holder).close()
            files.remove(self.directory)

    def status(self) -> Status:
        """Return the status of the cluster, without waiting for a command that changes it."""
        state = self._load()
        if state is None:
            return Status(name=self.name, directory=self.directory, exists=False, ready=False)
        found = tuple(
            ProcessStatus(role, process.pid, process.alive, self._log(role))
            for role, process in state.processes.items()
        )
        status = Status(
            name=self.name,
            directory=self.directory,
            exists=True,
            ready=False,
            mode=state.mode,
            reason=state.reason,
            kubeconfig=self.kubeconfig,
            processes=found,
        )
        if not state.ports:
            start = arguments.command_line("up", self.name)
            return replace(status, fault=f"its first start was cut short; `{start}` completes it")
        try:
            asked = subprocess.run(
                self._ask(state, "summary", Question(**self._credentials(state))),
                cwd=paths.repository(),
                capture_output=True,
                text=True,
                check=False,
            )
        except ClusterError as error:
            return replace(status, fault=str(error))
        if asked.returncode != 0:
            return replace(status, fault=asked.stderr.strip())
        summary = json.loads(asked.stdout)
        running = {process.role for process in found if process.alive}
        ready = set(self._roles(state)) <= running and not any(summary["nodes"].values())
        return replace(status, ready=ready, nodes=summary["nodes"], pods=summary["pods"])

    # What is remembered

    def _load(self) -> State | None:
        try:
            return State.from_json((self.directory / files.RECORD).read_text())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ClusterError(
                f"{self.directory / 'cluster.json'} can't be read ({error}): remove the folder"
            ) from error

    def _state(self) -> State:
        state = self._load()
        if state is None:
            start = arguments.command_line("up", self.name)
            raise ClusterError(f"the embedded cluster {self.name!r} is not up: `{start}` starts it")
        return state

    def _save(self, state: State) -> State:
        files.write(self.directory / files.RECORD, state.to_json().encode())
        return state

    def _log(self, role: str) -> Path:
        return self.directory / "logs" / f"{role.replace(' ', '-')}.log"

    @contextlib.contextmanager
    def _lock(self, progress: Progress | None) -> Generator[None]:
        self.directory.parent.mkdir(parents=True, exist_ok=True)
        # Beside the folder, because `down` removes that. The kernel frees the lock when its owner is killed.
        lock = FileLock(self.directory.with_name(f".{self.name}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            if progress:
                progress.say(f"Another command is at work on the cluster {self.name!r}; waiting for it.")
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    # Preparation: mode, ports, files

    def _prepared(
        self, state: State | None, wanted: Mode | None, tools: Tools, nodes: int, progress: Progress
    ) -> State:
        """Return a state whose namespace, ports and files are there; what can't be used any more is ended."""
        if nodes < 1:
            raise ClusterError(f"a cluster has at least one node, not {nodes}")
        if state is None:
            files.remove(self.directory)
            self.directory.mkdir(mode=0o700, exist_ok=True)
            state = State(marker=uuid.uuid4().hex, mode="api", reason="", ports={}, nodes=nodes)
            # Before the first process: whatever runs with this marker can be found again.
            self._save(state)
        self._end_strays(state)
        running = [role for role in CONTROL_PLANE if state.alive(role)]
        usable = state.alive(NAMESPACE) if state.mode == "full" else self._ports_usable(state)
        if running and usable:
            if wanted and wanted != state.mode:
                raise ClusterError(
                    f"the cluster {self.name!r} runs in mode {state.mode}; for mode {wanted} take it down first"
                )
        else:
            processes.end(state.processes.values(), grace_seconds=1.0)
            state = self._placed(replace(state, processes={}), wanted, tools, progress)
        alive = {role: process for role, process in state.processes.items() if process.alive}
        state = self._save(replace(state, nodes=max(nodes, state.nodes), processes=alive))
        self._write_files(state)
        return state

    def _end_strays(self, state: State) -> None:
        """End what a killed `up` started and did not record. Descendants of recorded processes are theirs."""
        recorded = [process for process in state.processes.values() if process.alive]
        ours = {process.pid for process in recorded}
        strays = [p for p in processes.with_marker(state.marker) if not ours & set(processes.ancestry(p.pid))]
        processes.end(strays, grace_seconds=1.0)

    def _placed(self, state: State, wanted: Mode | None, tools: Tools, progress: Progress) -> State:
        """Return the state with the mode and ports of a new start, its namespace made."""
        reason = f"it was asked for by {MODE_VARIABLE} or an argument"
        if wanted != "api":
            reason = tools.reason("iptables") or ""
            if not reason:
                try:
                    with progress.step("network namespace"):
                        namespace = Namespace.create(self._detached(state))
                    ports = components.PORTS
                    placed = replace(
                        state, mode="full", reason="", ports=ports, processes={NAMESPACE: namespace.holder}
                    )
                    return self._save(placed)
                except NamespaceError as error:
                    reason = str(error)
            if wanted == "full":
                raise ClusterError(f"mode full is not possible here: {reason}")
        return self._save(replace(state, mode="api", reason=reason, ports=files.free_ports(list(components.PORTS))))

    def _ports_usable(self, state: State) -> bool:
        """Whether the ports of what does not run any more can still be had."""
        owners = {port: port.removesuffix("-peer") for port in components.PORTS}
        return bool(state.ports) and all(
            state.alive(owner) or files.is_free(state.ports[port]) for port, owner in owners.items()
        )

    def _layout(self, state: State) -> Layout:
        return Layout(self.directory, state.ports, real_pods=state.mode == "full")

    def _write_files(self, state: State) -> None:
        layout = self._layout(state)
        files.write_pki(layout.pki(""), self.name)
        for user in ("admin", "controller-manager", "scheduler"):
            text = components.kubeconfig(
                self.name,
                layout.server,
                layout.pki("ca.crt").read_bytes(),
                layout.pki(f"{user}.crt").read_bytes(),
                layout.pki(f"{user}.key").read_bytes(),
            )
            files.write(layout.kubeconfig(user), text.encode())
        files.write(self.kubeconfig, layout.kubeconfig("admin").read_bytes())
        files.write(layout.stages, components.stages_yaml(layout.real_pods).encode())

    # Processes

    def _roles(self, state: State) -> list[str]:
        """Return what has to run, in the order in which it starts."""
        if state.mode == "api":
            return list(CONTROL_PLANE)
        return [NAMESPACE, *CONTROL_PLANE, KUBELET]

    def _start_all(self, state: State, tools: Tools, progress: Progress) -> State:
        layout = self._layout(state)
        arguments = {
            "etcd": components.etcd(layout),
            "kube-apiserver": components.kube_apiserver(layout),
            "kube-controller-manager": components.kube_controller_manager(layout),
            "kube-scheduler": components.kube_scheduler(layout),
            "kwok": components.kwok(layout),
        }
        with progress.step("Kubernetes API"):
            for role in CONTROL_PLANE[:2]:
                state = self._start(state, role, [str(tools.path(role)), *arguments[role]], self._detached(state))
            self._wait(state, Question(**self._credentials(state)))
        with progress.step("controllers and nodes"):
            for role in _AFTER_API:
                state = self._start(state, role, [str(tools.path(role)), *arguments[role]], self._detached(state))
            if state.mode == "full" and not state.alive(KUBELET):
                self._kubelet_sign.unlink(missing_ok=True)
                argv = [sys.executable, "-m", "devcluster.kubelet", "--name", self.name]
                environment = self._detached(state, tools.env()) | {"KUBECONFIG": str(self.kubeconfig)}
                state = self._start(state, KUBELET, argv, environment)
            nodes = components.node_names(state.nodes)
            self._wait(state, Question(**self._credentials(state), health=layout.health, nodes=nodes))
            if state.mode == "full":
                self._wait_for_kubelet(state)
        return state

    def _detached(self, state: State, base: Mapping[str, str] = os.environ) -> dict[str, str]:
        return processes.detached_environment(base, state.marker)

    def _start(self, state: State, role: str, argv: list[str], environment: Mapping[str, str]) -> State:
        """Start a role's process if it does not run, and record it."""
        if state.alive(role):
            return state
        log = self._log(role)
        log.parent.mkdir(exist_ok=True)
        if log.exists():
            log.replace(log.with_suffix(".log.old"))
        with log.open("wb") as output:
            try:
                process = subprocess.Popen(
                    self._argv(state, argv),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=paths.repository(),
                    env=dict(environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise ClusterError(f"{role} can't be started: {error}") from error
        _children.append(process)
        identity = ProcessId.of(process.pid)
        if identity is None:
            raise ClusterError(self._report(role))
        return self._save(replace(state, processes={**state.processes, role: identity}))

    def _wait(self, state: State, question: Question) -> None:
        """Wait for the answer to a question, and stop waiting when a process ends."""
        asker = subprocess.Popen(
            self._ask(state, "wait", question), cwd=paths.repository(), stderr=subprocess.PIPE, text=True
        )
        with asker:
            while asker.poll() is None:
                ended = [role for role in state.processes if not state.alive(role)]
                if ended:
                    asker.kill()
                    raise ClusterError("\n".join(self._report(role) for role in ended))
                time.sleep(_POLL_SECONDS)
            faults = asker.stderr.read().strip() if asker.stderr else ""
        ended = [role for role in state.processes if not state.alive(role)]
        if ended:
            raise ClusterError("\n".join(self._report(role) for role in ended))
        if asker.returncode != 0:
            suspects = [role for role in CONTROL_PLANE if role in faults] or ["kube-apiserver"]
            reports = "\n".join(self._tail(role) for role in suspects)
            raise ClusterError(
                f"the cluster does not become ready within {question.timeout:.0f} s: {faults}\n{reports}"
            )

    @property
    def _kubelet_sign(self) -> Path:
        """What the kubelet writes once it has seen the cluster's Services, and from then on."""
        return registry.pods_folder(self.name) / registry.SERVICES_FILE

    def _wait_for_kubelet(self, state: State) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._kubelet_sign.exists():
            if not state.alive(KUBELET):
                raise ClusterError(self._report(KUBELET))
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{KUBELET} does not begin its work within {_READY_SECONDS:.0f} s.\n{self._tail(KUBELET)}"
                )
            time.sleep(_POLL_SECONDS)

    def _credentials(self, state: State) -> dict[str, Any]:
        layout = self._layout(state)
        return {
            "server": layout.server,
            "authority": str(layout.pki("ca.crt")),
            "certificate": str(layout.pki("admin.crt")),
            "key": str(layout.pki("admin.key")),
            "timeout": _READY_SECONDS,
        }

    def _ask(self, state: State, command: str, question: Question) -> list[str]:
        return self._argv(state, [sys.executable, "-m", "devcluster.readiness", command, question.to_json()])

    def _argv(self, state: State, command: Sequence[str]) -> list[str]:
        if state.mode == "api":
            return list(command)
        if not state.alive(NAMESPACE):
            start = arguments.command_line("up", self.name)
            raise ClusterError(f"the embedded cluster {self.name!r} does not run any more: `{start}` starts it again")
        return Namespace(state.processes[NAMESPACE]).enter_argv(command)

    def _report(self, role: str) -> str:
        start = arguments.command_line("up", self.name)
        return f"{role} has ended by itself. `{start}` starts it anew.\n{self._tail(role)}"

    def _tail(self, role: str) -> str:
        log = self._log(role)
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:] if log.exists() else []
        return "\n".join([f"Its log is {log}; the last lines:", *(f"  {line}" for line in lines)])

    def _empty_from_inside(self, state: State) -> None:
        """Let the namespace's own root end and remove what belongs to users that only exist in there."""
        if os.geteuid() == 0:
            return
        sweep = [sys.executable, "-m", "devcluster.processes", state.marker, "2"]
        # It ends the holder too, which carries the marker, so the files go first.
        pods = self.directory / "pods"
        for argv in (["rm", "-rf", "--one-file-system", str(pods)], sweep):
            if state.alive(NAMESPACE):
                subprocess.run(self._argv(state, argv), cwd=paths.repository(), check=False)


# Kept so that an ended child is reaped and not reported as a leak; the cluster outlives this process.
_children: list[subprocess.Popen[bytes]] = []
