"""The tools of the embedded cluster: on PATH in the right version, or made once from the pinned modules in tools/.

`Toolbox` is the door: `ensure` has what is missing made, `path` says where a tool is, `env` gives the environment in
which every one is found by name.
"""

import os
import shutil
import subprocess
import threading
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import psutil

from devcluster import artefacts, golang, iptables, paths, prometheus, zipkin
from devcluster.artefacts import ToolError
from devcluster.catalogue import EVERYTHING, PROMETHEUS_TOOLS, ZIPKIN_TOOLS, Entry, Piece, Version, catalogue
from devcluster.golang import BuildContext, Program, module_version, version_tuple
from devcluster.progress import Progress

PLUGIN = "pulumi-resource-kubernetes"
_PROBE_SECONDS = 20
_BYTES_PER_BUILD = 3 * 2**30


def target_folder(cache: Path, piece: Piece) -> Path:
    """Return where a piece is kept once it is made."""
    key = golang.program_key(piece) if isinstance(piece, Program) else golang.files_key(piece)
    return cache / "tools" / f"{piece.name}-{key}"


def workers(cores: int, memory: int, pieces: int) -> int:
    """Return how many builds run at once: Go fills the cores by itself, but links on one; each may need 3 GiB."""
    by_cores = 1 if cores < 2 else 2 if cores < 8 else 3  # noqa: PLR2004 - the steps are explained above
    return max(1, min(by_cores, memory // _BYTES_PER_BUILD, pieces))


def by_module(pieces: Iterable[Piece]) -> list[list[Piece]]:
    """Return the pieces in groups that may be made side by side, those that cost most first.

    Pieces of one module share most of their packages: side by side, each run of Go would compile them for itself.
    """
    groups: dict[Path, list[Piece]] = {}
    for piece in sorted(pieces, key=lambda piece: -piece.cost):
        groups.setdefault(piece.folder, []).append(piece)
    return sorted(groups.values(), key=lambda group: -sum(piece.cost for piece in group))


def plugin_launcher(python: Path, repository: Path) -> str:
    """Return the script that stands for the Kubernetes plugin where the official one can't be had."""
    return f"#!/bin/sh\nPYTHONPATH='{repository}' exec '{python}' -m devcluster.provider \"$@\"\n"


def newest_plugin(plugins: Path, wanted: Version) -> Path | None:
    """Return the official Kubernetes plugin that `pulumi plugin install` left in a folder, if its version will do.

    Args:
        plugins: `$PULUMI_HOME/plugins`; it holds `resource-kubernetes-v4.29.0/pulumi-resource-kubernetes` and the like.
        wanted: The version of the Python SDK; the same major version works.
    """
    found = [
        (version_tuple(folder.name), folder / PLUGIN)
        for folder in plugins.glob("resource-kubernetes-v*")
        if os.access(folder / PLUGIN, os.X_OK) and version_tuple(folder.name)[:1] == wanted[:1]
    ]
    return max(found)[1] if found else None


class Toolbox:
    """Finds and makes tools, and hands out an environment in which they are found."""

    def __init__(
        self,
        repository: Path | None = None,
        cache: Path | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.repository = repository or paths.repository()
        self.cache = cache or paths.cache_dir(environ)
        self._environ = dict(environ)
        self._entries = catalogue(self.repository / "tools")
        self._paths: dict[str, Path] = {}
        self._missing: dict[str, str] = {}

    @property
    def venv_bin(self) -> Path:
        """The folder of the virtual environment's programs, envoy among them."""
        return self.repository / ".venv" / "bin"

    def ensure(self, names: Iterable[str] = EVERYTHING, progress: Progress | None = None) -> None:
        """Find these tools on PATH or in the cache, and build or fetch the others.

        iptables may be had nowhere: then `reason("iptables")` says why, and nothing is raised.

        Raises:
            ToolError: A tool can't be had; the message says what to do.
        """
        wanted = [name for name in names if name not in self._paths]
        built = {tool for entry in self._entries for tool in entry.provides}
        known = built | {"iptables", PLUGIN, *PROMETHEUS_TOOLS, *ZIPKIN_TOOLS}
        unknown = set(wanted) - known
        if unknown:
            raise ToolError(f"No such tool: {', '.join(sorted(unknown))}. There are: {', '.join(sorted(known))}.")
        missing = self._resolve(wanted)
        if "iptables" in wanted:
            self._paths |= iptables.on_machine(self._environ) or iptables.kept(self.cache / "tools", _os_release())
            if "iptables" not in self._paths:
                with progress or Progress() as shown:
                    self._fetch_iptables(shown)
        if set(wanted) & set(PROMETHEUS_TOOLS):
            found = prometheus.on_machine(self._environ) or prometheus.kept(self.cache / "tools", _os_release())
            self._paths |= found or self._fetch_prometheus(progress or Progress())
        if set(wanted) & set(ZIPKIN_TOOLS):
            self._paths |= zipkin.kept(self.cache / "tools") or self._fetch_zipkin(progress or Progress())
        if missing:
            with progress or Progress() as shown:
                self._make(missing, shown)
        self._resolve(wanted)
        self._add_plugin()

    def find(self, names: Iterable[str]) -> None:
        """Find those of these tools that exist already; build none."""
        self._resolve(list(names))

    def path(self, tool: str) -> Path:
        """Return where a tool is.

        Raises:
            ToolError: It was not made ready by `ensure`, or can't be had.
        """
        if tool == "envoy":
            return self.venv_bin / "envoy"
        if tool not in self._paths:
            raise ToolError(
                f"{tool}: {self._missing.get(tool, 'not built yet; `python3 -m devcluster tools` does it')}"
            )
        return self._paths[tool]

    def reason(self, tool: str) -> str | None:
        """Return why a tool can't be had, or None when it can."""
        return self._missing.get(tool)

    def env(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return `base` (the process's environment unless given) with the tools and `.venv` first on PATH."""
        result = dict(self._environ if base is None else base)
        first = [str(self.venv_bin), str(self._links())]
        rest = [part for part in result.get("PATH", os.defpath).split(os.pathsep) if part not in first]
        result["PATH"] = os.pathsep.join([*first, *rest])
        result["VIRTUAL_ENV"] = str(self.venv_bin.parent)
        result.pop("PYTHONHOME", None)
        return result

    def _resolve(self, wanted: Iterable[str]) -> list[Entry]:
        """Note where wanted tools are; return what has to be made."""
        missing: list[Entry] = []
        for entry in self._entries:
            needed = [tool for tool in entry.provides if tool in wanted]
            if not needed or all(tool in self._paths for tool in needed):
                continue
            folder = target_folder(self.cache, entry.piece)
            if folder.is_dir():
                self._paths |= {tool: folder / where for tool, where in entry.provides.items()}
            elif found := self._on_path(entry):
                self._paths |= found
            else:
                missing.append(entry)
        return missing

    def _on_path(self, entry: Entry) -> dict[str, Path]:
        pinned = version_tuple(module_version((entry.piece.folder / "go.mod").read_text(), entry.module))
        found: dict[str, Path] = {}
        for tool in entry.provides:
            probe = entry.probes.get(tool)
            where = shutil.which(tool, path=self._environ.get("PATH", "")) if probe else None
            if probe is None or where is None or not probe.accepts(_version(where, probe.arguments), pinned):
                return {}
            found[tool] = Path(where)
            found |= {other: Path(where).resolve().parent / other for other in probe.beside}
            if not all(path.is_file() for path in found.values()):
                return {}
        return found

    def _make(self, entries: Sequence[Entry], progress: Progress) -> None:
        if not entries:
            return
        self._check_disk(entries, progress)
        required = max(golang.go_directive((entry.piece.folder / "go.mod").read_text()) for entry in entries)
        with progress.step("find Go") as step:
            lock_file = self.repository / "tools" / "go" / "requirements.txt"
            go = golang.find_go(required, self.cache, lock_file, step, self._environ)
            step.remark = ".".join(map(str, go.version))
        modules = by_module([entry.piece for entry in entries])
        stop = threading.Event()
        cores, memory = os.cpu_count() or 1, psutil.virtual_memory().available
        count = workers(cores, memory, len(modules))
        # Each build has as many compilers as there are cores.
        go = replace(go, variables=golang.compiler_memory(count * cores, memory))
        with ThreadPoolExecutor(count, thread_name_prefix="build") as pool:
            running = [pool.submit(self._make_all, pieces, go, progress, stop) for pieces in modules]
            try:
                done, _ = wait(running, return_when=FIRST_EXCEPTION)
            finally:
                # One failed, or Ctrl-C: the others end now.
                stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
        for future in done:
            future.result()

    def _make_all(self, pieces: Sequence[Piece], go: golang.Go, progress: Progress, stop: threading.Event) -> None:
        for piece in pieces:
            if not stop.is_set():
                self._make_one(piece, go, progress, stop)

    def _make_one(self, piece: Piece, go: golang.Go, progress: Progress, stop: threading.Event) -> None:
        tools = ", ".join(piece.packages) if isinstance(piece, Program) else piece.module
        verb = "build" if isinstance(piece, Program) else "fetch"
        log = self.cache / "logs" / f"{piece.name}.log"
        with progress.step(f"{verb} {piece.name} ({tools})" if tools != piece.name else f"{verb} {tools}") as step:
            context = BuildContext(go, log, step, stop)

            def make(folder: Path) -> None:
                if isinstance(piece, Program):
                    golang.build(piece, folder, context)
                else:
                    golang.extract(piece, folder, context)

            if not artefacts.ensure(target_folder(self.cache, piece), make, step=step, stop=stop):
                step.remark = "made by another run"

    def _check_disk(self, entries: Sequence[Entry], progress: Progress) -> None:
        self.cache.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.cache).free / 2**30
        need = sum(entry.piece.disk for entry in entries)
        if free < need:
            progress.say(
                f"Disk: {free:.1f} GiB are free in {self.cache}; a first build of these tools takes about "
                f"{need:.0f} GiB, Go's caches included. It goes on: they may hold most of it already."
            )

    def _fetch_iptables(self, progress: Progress) -> None:
        try:
            with progress.step("fetch iptables") as step:
                self._paths |= iptables.fetched(self.cache / "tools", _os_release(), step)
        except ToolError as error:
            self._missing["iptables"] = str(error)
            progress.say(f"{error}\nWithout it the cluster runs, but pods have no sidecars and no split is measured.")

    def _fetch_prometheus(self, progress: Progress) -> dict[str, Path]:
        with progress as shown, shown.step("fetch prometheus") as step:
            return prometheus.fetched(self.cache / "tools", _os_release(), step)

    def _fetch_zipkin(self, progress: Progress) -> dict[str, Path]:
        with progress as shown, shown.step("fetch zipkin") as step:
            lock_file = self.repository / "tools" / "zipkin" / "requirements.txt"
            return zipkin.fetched(self.cache / "tools", lock_file, self._environ, step)

    def _add_plugin(self) -> None:
        own = shutil.which(PLUGIN, path=self._environ.get("PATH", ""))
        home = Path(self._environ.get("PULUMI_HOME") or Path(self._environ.get("HOME", "/")) / ".pulumi")
        official = (
            Path(own) if own else newest_plugin(home / "plugins", version_tuple(metadata.version("pulumi-kubernetes")))
        )
        if official is not None:
            self._paths[PLUGIN] = official
            return
        text = plugin_launcher(self.venv_bin / "python", self.repository)
        target = self.cache / "tools" / f"plugin-launcher-{artefacts.digest(text)}"

        def make(folder: Path) -> None:
            (folder / PLUGIN).write_text(text)
            (folder / PLUGIN).chmod(0o755)

        artefacts.ensure(target, make)
        self._paths[PLUGIN] = target / PLUGIN

    def _links(self) -> Path:
        """Return a folder of links to all known commands. Each set has its own, so it never changes during a run."""
        commands = {name: path for name, path in self._paths.items() if path.is_file() and os.access(path, os.X_OK)}
        key = artefacts.digest("hard", *(f"{name}={path}" for name, path in sorted(commands.items())))
        target = self.cache / "bin" / key

        def make(folder: Path) -> None:
            for name, path in commands.items():
                # Pulumi's programs look for each other beside the file they run from, which a symbolic link hides.
                if path.is_relative_to(self.cache):
                    (folder / name).hardlink_to(path)
                else:
                    (folder / name).symlink_to(path)

        artefacts.ensure(target, make)
        return target


def _os_release() -> str:
    """Return the text of /etc/os-release: what is fetched for one release is not for another."""
    release = Path("/etc/os-release")
    return release.read_text() if release.is_file() else ""


def _version(where: str, arguments: Sequence[str]) -> Version:
    try:
        done = subprocess.run(
            [where, *arguments],
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
            cwd="/",
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return version_tuple(done.stdout)
