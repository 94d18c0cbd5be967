"""One pod's life: its files, its namespaces, its containers, what is reported of it, its end."""

import asyncio
import contextlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from devcluster.kubelet import network, registry, spec, status, volumes
from devcluster.kubelet.api import Api, ApiError
from devcluster.kubelet.sandbox import Sandbox, SandboxError
from devcluster.kubelet.spec import Container, Context, Node, NotYet, Object, Probe, Source
from devcluster.kubelet.status import ContainerState

_RETRY_SECONDS = 0.5
_REFRESH_SECONDS = 60.0
_UNREADY_PERIOD = 0.25
_REPORT_SECONDS = 0.05
# A real kubelet asks for a new token at 80 % of its life (kubernetes.io, "Configure Service Accounts for Pods").
_TOKEN_SHARE = 0.8
_DEFAULT_GRACE = 30.0
_TCP_ROOM = 64


@dataclass(frozen=True)
class Host:
    """What the node lends to every pod.

    Attributes:
        mounts: Target to source.
        writable: The targets that are not mounted read-only.
        links: Symbolic links of the pod's root: path to target.
        folder: Where the pods' folders are.
        environment: Of the shim itself.
    """

    mounts: Mapping[str, Path]
    writable: Collection[str]
    links: Mapping[str, str]
    folder: Path
    environment: Mapping[str, str]


class Names(Protocol):
    """What a pod asks the node for."""

    def hosts(self, namespace: str, pod: str, address: str) -> str:
        """Return the pod's /etc/hosts."""
        ...

    def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return a ConfigMap's data, or None if there is none."""
        ...


class PodWorker:
    """Runs one pod until it is deleted."""

    def __init__(
        self, pod: Object, *, api: Api, node: Node, host: Host, names: Names, address: str, log: Callable[[str], None]
    ) -> None:
        self.pod = pod
        self.address = address
        self.pid: int | None = None
        self._api, self._node, self._host, self._names, self._log = api, node, host, names, log
        self._folder = host.folder / spec.directory_name(pod)
        self._states: dict[str, ContainerState] = {}
        self._tokens: dict[volumes.TokenRequest, tuple[str, float]] = {}
        self._changed = asyncio.Event()
        self._refresh = asyncio.Event()
        self._deleted = asyncio.Event()
        self._gone = asyncio.Event()
        self._running: dict[str, Container] = {}
        self._ending = False
        self._seen_status: Any = None

    @property
    def key(self) -> str:
        """Namespace and name, for people."""
        return f"{self.pod['metadata']['namespace']}/{self.pod['metadata']['name']}"

    def update(self, pod: Object) -> None:
        """Use a newer version of the Pod."""
        self.pod = pod
        if pod["metadata"].get("deletionTimestamp"):
            self._deleted.set()
        self._changed.set()

    def forget(self) -> None:
        """End the pod at once: the API has removed it."""
        self._gone.set()
        self._deleted.set()

    def refresh(self) -> None:
        """Write the pod's files again if a changed ConfigMap or Service changes them."""
        self._refresh.set()

    async def run(self) -> None:
        """Run the pod from its first file to its last process; start again if the shim is lost."""
        for container in [*self._listed("initContainers"), *self._listed("containers")]:
            self._states[container["name"]] = ContainerState()
        for container in self._listed("initContainers"):
            if not any(c.name == container["name"] for c in self._planned_names()):
                del self._states[container["name"]]
        reporter = asyncio.create_task(self._report_changes())
        try:
            while not self._deleted.is_set():
                try:
                    await self._live()
                except (SandboxError, OSError, ApiError) as fault:
                    self._waiting("CreatePodSandboxError", str(fault))
                    self._log(f"{self.key}: {fault}")
                    await self._pause(status.BACK_OFF_START)
            if not self._gone.is_set():
                await self._finish()
        finally:
            reporter.cancel()
            with contextlib.suppress(OSError):
                await asyncio.to_thread(network.disconnect, self.address)
            shutil.rmtree(self._folder, ignore_errors=True)

    # -- what it needs -------------------------------------------------------------------------------------------

    def _listed(self, name: str) -> Sequence[Object]:
        return spec.listed(self.pod["spec"], name)

    def _planned_names(self) -> list[Container]:
        """Return the init containers that run, without their environment, which may not be known yet."""
        bare: dict[str, Any] = {**self.pod, "spec": {**self.pod["spec"]}}
        for group in ("initContainers", "containers"):
            bare["spec"][group] = [{**c, "env": [], "envFrom": []} for c in self._listed(group)]
        return spec.containers(Context(bare, self._node, self.address))

    def _context(self, source: Source) -> Context:
        return Context(self.pod, self._node, self.address, source)

    async def _gather(self) -> tuple[list[Container], dict[str, dict[str, str]]]:
        """Return the containers to run and the files of all volumes, waiting for what is not there yet."""
        while True:
            try:
                source = await self._source()
                tokens = {request: text for request, (text, _) in self._tokens.items()}
                files = volumes.contents(self._context(source), tokens)
                return spec.containers(self._context(source)), files
            except NotYet as missing:
                self._waiting("ContainerCreating", f"waiting for {missing}")
            except ApiError as fault:
                self._waiting("ContainerCreating", str(fault))
            if await self._pause(_RETRY_SECONDS):
                raise asyncio.CancelledError

    async def _source(self) -> Source:
        wanted = volumes.needs(self.pod)
        namespace = self.pod["metadata"]["namespace"]
        base = f"/api/v1/namespaces/{namespace}"
        config_maps = {name: data for name in wanted.config_maps if (data := self._names.config_map(namespace, name))}
        secrets: dict[str, Mapping[str, str]] = {}
        for name in sorted(wanted.secrets):
            found = await asyncio.to_thread(self._api.get, f"{base}/secrets/{name}")
            if found is not None:
                secrets[name] = volumes.decoded(found.get("data"))
        for request in sorted(wanted.tokens):
            _, due = self._tokens.get(request, ("", 0.0))
            if time.time() >= due:
                self._tokens[request] = await self._token(request, base)
        return Source(config_maps, secrets)

    async def _token(self, request: volumes.TokenRequest, base: str) -> tuple[str, float]:
        account = self.pod["spec"].get("serviceAccountName", "default")
        metadata = self.pod["metadata"]
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        body = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [request.audience] if request.audience else [],
                "expirationSeconds": request.seconds,
                "boundObjectRef": bound,
            },
        }
        made = await asyncio.to_thread(self._api.create, f"{base}/serviceaccounts/{account}/token", body)
        return made["status"]["token"], time.time() + request.seconds * _TOKEN_SHARE

    def _write(self, files: Mapping[str, Mapping[str, str]]) -> None:
        writable = volumes.empty_directories(self.pod)
        for name, content in files.items():
            folder = self._folder / "volumes" / name
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o1777 if name in writable else 0o755)
            for path, text in content.items():
                replace_file(folder / path, text)
            if name not in writable:
                for old in folder.iterdir():
                    if old.is_file() and old.name not in content:
                        old.unlink()
        metadata = self.pod["metadata"]
        replace_file(
            self._folder / "names" / "hosts",
            self._names.hosts(metadata["namespace"], metadata["name"], self.address),
        )

    # -- its life ------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        containers, files = await self._gather()
        for folder in ("root", "logs", "run", "names"):
            (self._folder / folder).mkdir(parents=True, exist_ok=True)
        (self._folder / "run").chmod(0o1777)
        self._write(files)
        sandbox = await Sandbox.create(self._host.environment)
        keeper = asyncio.create_task(self._keep_files())
        supervisors: list[asyncio.Task[Any]] = []
        try:
            await asyncio.to_thread(network.connect, self.address, sandbox.pid)
            await sandbox.set_up(**self._root())
            self.pid = sandbox.pid
            self._register()
            starter = asyncio.create_task(self._start_all(sandbox, containers, supervisors))
            supervisors.append(starter)
            lost = asyncio.create_task(sandbox.lost())
            supervisors.append(lost)
            deleted = asyncio.create_task(self._deleted.wait())
            supervisors.append(deleted)
            await asyncio.wait({lost, deleted}, return_when=asyncio.FIRST_COMPLETED)
            starter.cancel()
            if lost.done():
                raise SandboxError("the pod's shim ended")
            if not self._gone.is_set():
                await self._terminate(sandbox)
        finally:
            self.pid = None
            for task in [keeper, *supervisors]:
                task.cancel()
            await sandbox.close()

    def _root(self) -> dict[str, Any]:
        borrowed = [
            {"source": str(s), "target": t, "readOnly": t not in self._host.writable}
            for t, s in self._host.mounts.items()
        ]
        own = [
            {"source": str(self._folder / "volumes" / name), "target": target, "readOnly": False}
            for target, name in volumes.mounts(self.pod).items()
        ]
        extra = [
            {"source": str(self._folder / "run"), "target": "/run/meshup", "readOnly": False},
            {"source": str(self._folder / "names"), "target": "/run/names", "readOnly": True},
        ]
        return {
            "address": self.address,
            "gateway": self._node.address,
            "root": str(self._folder / "root"),
            "logs": str(self._folder / "logs"),
            "hostname": self.pod["metadata"]["name"][:_TCP_ROOM],
            "mounts": [*borrowed, *own, *extra],
            "links": {**self._host.links, "/etc/hosts": "/run/names/hosts", "/var/run": "/run"},
            # No name server: /etc/hosts knows every Service, and a refused connection fails at once.
            "files": {"/etc/resolv.conf": "nameserver 127.0.0.1\noptions attempts:1 timeout:1\n"},
            "directories": ["/tmp", "/etc", "/var"],  # noqa: S108 - of the pod's own root
            "sysctls": spec.sysctls(self.pod),
        }

    def _register(self) -> None:
        """Write down where the pod is, for those who send requests from it."""
        metadata = self.pod["metadata"]
        entry = {
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
            "labels": spec.mapped(metadata, "labels"),
            "address": self.address,
            "pid": self.pid,
        }
        replace_file(self._folder / registry.POD_FILE, json.dumps(entry))

    async def _start_all(
        self, sandbox: Sandbox, containers: list[Container], supervisors: list[asyncio.Task[Any]]
    ) -> None:
        for container in containers:
            if container.once:
                await self._run_once(sandbox, container)
                continue
            ready = asyncio.Event()
            supervisors.append(asyncio.create_task(self._supervise(sandbox, container, ready)))
            if container.gate:
                await ready.wait()

    async def _run_once(self, sandbox: Sandbox, container: Container) -> None:
        while True:
            self._set(container.name, phase="running", since=_now())
            code = await self._start(sandbox, container)
            reason = "Completed" if code == 0 else "Error"
            self._set(
                container.name, phase="terminated", reason=reason, code=code, since=_now(), ready=code == 0, message=""
            )
            if code == 0:
                return
            self._log(f"{self.key}: container {container.name} ended with {code}")
            await self._back_off(container, code)

    async def _supervise(self, sandbox: Sandbox, container: Container, ready: asyncio.Event) -> None:
        """Keep a container running: start it, watch its probes, start it again when it ends."""
        while True:
            marker = self._folder / "run" / f"{container.name}.ready"
            marker.unlink(missing_ok=True)
            begun = time.monotonic()
            self._running[container.name] = container
            ended = self._start(sandbox, container)
            self._set(container.name, phase="running", since=_now(), ready=False, started=False)
            prober = asyncio.create_task(self._probe(sandbox, container, marker, ready))
            try:
                code = await ended
            finally:
                prober.cancel()
            self._running.pop(container.name, None)
            reason = "Completed" if code == 0 else "Error"
            self._set(container.name, phase="terminated", reason=reason, code=code, since=_now(), ready=False)
            if self._ending:
                return
            self._log(f"{self.key}: container {container.name} ended with {code}")
            if time.monotonic() - begun > status.BACK_OFF_RESET:
                await self._back_off(container, code, wait=0.0)
            else:
                await self._back_off(container, code)

    async def _back_off(self, container: Container, code: int, wait: float | None = None) -> None:
        before = self._states[container.name]
        seconds = status.back_off(before.restarts) if wait is None else wait
        self._set(
            container.name,
            phase="waiting",
            reason="CrashLoopBackOff",
            message=f"ended with {code}, see {container.name}.log; next start in {seconds:g} s",
            ready=False,
            restarts=before.restarts + 1,
            last=(before.reason, code, before.since),
        )
        await asyncio.sleep(seconds)

    def _start(self, sandbox: Sandbox, container: Container) -> asyncio.Future[int]:
        argv = list(container.argv)
        if container.role == "workload":
            argv += ["--ready-file", f"/run/meshup/{container.name}.ready"]
        return sandbox.start(
            container.name,
            argv=argv,
            env=dict(container.env),
            user=container.user,
            group=container.group,
            log=f"{container.name}.log",
        )

    async def _probe(self, sandbox: Sandbox, container: Container, marker: Path, ready: asyncio.Event) -> None:
        if container.role == "workload":
            # The process says itself when its ports are open, whatever probes its container has.
            while not marker.exists():
                await asyncio.sleep(_REPORT_SECONDS)
        failures = 0
        while container.startup is not None and not await self._answers(container.startup):
            failures += 1
            if failures >= container.startup.failures:
                sandbox.signal(container.name, signal.SIGTERM)
                return
            await asyncio.sleep(min(container.startup.period, 1.0))
        self._set(container.name, started=True)
        if container.liveness is not None:
            liveness = asyncio.create_task(self._watch_liveness(sandbox, container, container.liveness))
        else:
            liveness = None
        try:
            await self._watch_readiness(container, ready)
        finally:
            if liveness is not None:
                liveness.cancel()

    async def _watch_readiness(self, container: Container, ready: asyncio.Event) -> None:
        probe = container.readiness
        if probe is None:
            self._set(container.name, ready=True)
            ready.set()
            return
        failures = 0
        while True:
            if await self._answers(probe):
                failures = 0
                self._set(container.name, ready=True)
                ready.set()
            else:
                failures += 1
                if failures >= probe.failures:
                    self._set(container.name, ready=False)
            # What is not ready yet is asked more often than it says, so that nobody waits for a period to end.
            await asyncio.sleep(probe.period if self._states[container.name].ready else _UNREADY_PERIOD)

    async def _watch_liveness(self, sandbox: Sandbox, container: Container, probe: Probe) -> None:
        await asyncio.sleep(probe.delay)
        failures = 0
        while True:
            failures = 0 if await self._answers(probe) else failures + 1
            if failures >= probe.failures:
                self._log(f"{self.key}: container {container.name} fails its liveness probe")
                sandbox.signal(container.name, signal.SIGKILL)
                return
            await asyncio.sleep(probe.period)

    async def _answers(self, probe: Probe) -> bool:
        try:
            async with asyncio.timeout(probe.timeout):
                reader, writer = await asyncio.open_connection(self.address, probe.port)
                try:
                    if probe.scheme == "tcp":
                        return True
                    request = f"GET {probe.path} HTTP/1.1\r\nhost: {self.address}\r\nuser-agent: kube-probe/1.36\r\n"
                    writer.write(f"{request}connection: close\r\n\r\n".encode())
                    line = await reader.readline()
                    return 200 <= int(line.split()[1]) < 400  # noqa: PLR2004
                finally:
                    writer.close()
        except (OSError, ValueError, IndexError):
            return False

    async def _keep_files(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._refresh.wait(), _REFRESH_SECONDS)
            self._refresh.clear()
            try:
                source = await self._source()
                tokens = {request: text for request, (text, _) in self._tokens.items()}
                self._write(volumes.contents(self._context(source), tokens))
            except (NotYet, ApiError, OSError) as fault:
                # The files stay as they were, as on a real node.
                self._log(f"{self.key}: files not refreshed: {fault}")

    # -- its end -------------------------------------------------------------------------------------------------

    async def _terminate(self, sandbox: Sandbox) -> None:
        """Ask the containers to end, native sidecars after the others, and wait for the grace period."""
        self._ending = True
        grace = self.pod["metadata"].get("deletionGracePeriodSeconds")
        deadline = time.monotonic() + (_DEFAULT_GRACE if grace is None else grace)
        mains = [c for c in self._running.values() if not c.init]
        sidecars = [c for c in self._running.values() if c.init]
        for group in (mains, sidecars):
            await asyncio.gather(*(self._end(sandbox, c, deadline) for c in group))

    async def _end(self, sandbox: Sandbox, container: Container, deadline: float) -> None:
        await asyncio.sleep(min(container.grace, max(deadline - time.monotonic(), 0)))
        sandbox.signal(container.name, signal.SIGTERM)
        while container.name in self._running and time.monotonic() < deadline and not self._gone.is_set():
            await asyncio.sleep(_REPORT_SECONDS)

    async def _finish(self) -> None:
        """Tell the API that nothing of the pod runs any more, which removes it."""
        metadata = self.pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
        while not self._gone.is_set():
            try:
                await asyncio.to_thread(self._api.delete, path, options)
            except ApiError as fault:
                self._log(f"{self.key}: {fault}")
                await asyncio.sleep(_RETRY_SECONDS)
            else:
                return

    # -- what is told --------------------------------------------------------------------------------------------

    def _set(self, container: str, **changes: Any) -> None:
        state = replace(self._states[container], **changes)
        if state != self._states[container]:
            self._states[container] = state
            self._changed.set()

    def _waiting(self, reason: str, message: str) -> None:
        for name, state in self._states.items():
            if state.phase == "waiting":
                self._set(name, reason=reason, message=message)

    async def _report_changes(self) -> None:
        metadata = self.pod["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}/status"
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            wanted = status.pod_status(self.pod, self._states, self.address, self._node.address, _now())
            if _same(wanted, spec.mapped(self.pod, "status")) or wanted == self._seen_status:
                continue
            try:
                self.pod = await asyncio.to_thread(
                    self._api.patch, path, {"metadata": {"uid": metadata["uid"]}, "status": wanted}
                )
                self._seen_status = wanted
            except ApiError as fault:
                if fault.code in (404, 409):
                    continue
                self._log(f"{self.key}: {fault}")
                self._changed.set()
                await asyncio.sleep(_RETRY_SECONDS)
            # Several containers often change together.
            await asyncio.sleep(_REPORT_SECONDS)

    async def _pause(self, seconds: float) -> bool:
        """Sleep, or return True as soon as the pod is deleted."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._deleted.wait(), seconds)
        return self._deleted.is_set()


def _same(wanted: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    return all(current.get(key) == value for key, value in wanted.items())


def replace_file(path: Path, text: str) -> None:
    """Write a file in one step, and only when it changes, since istiod and pilot-agent watch theirs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text:
        return
    new = path.with_name(f".{path.name}.new")
    new.write_text(text)
    new.chmod(0o644)
    new.replace(path)


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
