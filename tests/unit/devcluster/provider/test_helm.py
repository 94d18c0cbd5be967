import base64
import json
import os
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from devcluster.provider.helm import Helm, HelmError, ReleaseResources, child_environment, explain
from devcluster.provider.memory import MemoryFile
from devcluster.provider.properties import UNKNOWN, Secret
from devcluster.provider.resources import Naming, Resource, ResourceError

_URN = "urn:pulumi:dev::p::kubernetes:helm.sh/v3:Release::web"


class _Silent:
    def status(self, text: str, *, warning: bool = False) -> None:
        pass

    def warn(self, text: str) -> None:
        pass


def _fake_helm(folder: Path, script: str) -> Helm:
    """Put a `helm` on PATH that records how it was called; the real one is in the cluster tests."""
    command = folder / "helm"
    record = '{ printf "%s\\n" "$@" > "$0.argv"; env > "$0.env"; }\n'
    command.write_text(f"#!/bin/sh\n{record}{script}\n")
    command.chmod(command.stat().st_mode | stat.S_IXUSR)
    path = f"{folder}{os.pathsep}{os.environ['PATH']}"
    os.environ["PATH"] = path
    return Helm({"PATH": path, "KUBECONFIG": "/nowhere"}, threading.Event())


@pytest.fixture(autouse=True)
def _path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.environ["PATH"])


def _chart(folder: Path, **fields: str) -> str:
    chart = folder / "chart"
    chart.mkdir()
    (chart / "Chart.yaml").write_text(json.dumps({"name": "c", "version": "1.2.3"} | fields))
    return str(chart)


def _check(helm: Helm, **inputs: Any) -> Any:
    return ReleaseResources(helm, "default", "").check(Resource(_URN), {}, inputs, Naming(b"seed"))


def test_a_local_chart_gives_the_version_without_running_helm(tmp_path: Path) -> None:
    helm = _fake_helm(tmp_path, "exit 1")
    checked = _check(helm, chart=_chart(tmp_path), name="web", values={"pw": Secret("hush")})
    assert checked.failures == []
    assert checked.inputs["version"] == "1.2.3"
    assert checked.inputs["values"] == {"pw": Secret("hush")}
    assert not (tmp_path / "helm.argv").exists()


def test_a_chart_folder_that_is_not_there_fails_in_check(tmp_path: Path) -> None:
    helm = _fake_helm(tmp_path, "exit 1")
    [(name, reason)] = _check(helm, chart="./nochart", name="web").failures
    assert name == "chart"
    assert reason == 'path "./nochart" not found; check the chart name and repository configuration.'


def test_a_library_chart_can_not_be_installed(tmp_path: Path) -> None:
    checked = _check(_fake_helm(tmp_path, "exit 1"), chart=_chart(tmp_path, type="library"), name="web")
    assert "library charts are not installable" in checked.failures[0][1]


def test_a_repository_that_does_not_answer_is_reported_in_helms_words(tmp_path: Path) -> None:
    helm = _fake_helm(tmp_path, "echo 'WARNING: x' >&2; echo 'Error: looks like it is down' >&2; exit 1")
    checked = _check(helm, chart="x", name="web", version="1.0.0", repositoryOpts={"repo": "http://127.0.0.1:9"})
    assert checked.failures[0][1].startswith("looks like it is down; check the chart name")
    argv = (tmp_path / "helm.argv").read_text().split()
    assert argv == ["show", "chart", "x", "--repo", "http://127.0.0.1:9", "--version", "1.0.0"]


def test_a_release_without_a_name_gets_one_and_keeps_it(tmp_path: Path) -> None:
    helm, chart = _fake_helm(tmp_path, "exit 1"), _chart(tmp_path)
    first = _check(helm, chart=chart).inputs["name"]
    assert first.startswith("web-")
    releases = ReleaseResources(helm, "default", "")
    again = releases.check(Resource(_URN), {"name": first}, {"chart": chart}, Naming(b"other"))
    assert again.inputs["name"] == first


def test_inputs_that_are_not_known_yet_are_not_looked_into(tmp_path: Path) -> None:
    checked = _check(_fake_helm(tmp_path, "exit 1"), chart="./nochart", name="web", values={"a": UNKNOWN})
    assert not checked.failures
    assert checked.inputs["values"] == {"a": UNKNOWN}


def test_values_go_by_standard_input(tmp_path: Path) -> None:
    helm = _fake_helm(tmp_path, 'cat > "$0.stdin"; echo \'{"name": "web", "version": 1}\'')
    releases = ReleaseResources(helm, "default", "")
    inputs = _check(helm, chart=_chart(tmp_path), name="web", values={"pw": Secret("hush")}).inputs
    identity, state = releases.create(inputs, _Silent(), preview=False)
    assert identity == "default/web"
    assert json.loads((tmp_path / "helm.stdin").read_text()) == {"pw": "hush"}
    assert "hush" not in (tmp_path / "helm.argv").read_text() + (tmp_path / "helm.env").read_text()
    assert state["values"]["pw"] == Secret("hush")


@pytest.mark.parametrize(
    ("options", "chart", "variable"),
    [({"repo": "https://h"}, "c", "HELM_REPOSITORY_CONFIG"), ({}, "oci://h/c", "HELM_REGISTRY_CONFIG")],
)
def test_a_password_is_only_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], chart: str, variable: str
) -> None:
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    # Kills the plugin while helm is at work, as far as files are concerned: what is there then would be left.
    script = f'cat "${variable}" > "$0.seen"; find {folder} -type f > "$0.files"; echo "version: 1"'
    helm = _fake_helm(tmp_path, script)
    opts = {**options, "username": "u", "password": Secret("hush")}
    checked = _check(helm, chart=chart, name="web", repositoryOpts=opts)
    assert not checked.failures
    assert checked.inputs["repositoryOpts"]["password"] == Secret("hush")
    seen = (tmp_path / "helm.seen").read_text()
    assert "hush" in seen or base64.b64encode(b"u:hush").decode() in seen
    assert (tmp_path / "helm.files").read_text() == ""
    assert "hush" not in (tmp_path / "helm.argv").read_text() + (tmp_path / "helm.env").read_text()


def test_a_missing_helm_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HelmError, match="not on PATH"):
        Helm({"PATH": str(tmp_path)}, threading.Event()).run(["version"])


def test_cancelling_ends_a_running_helm(tmp_path: Path) -> None:
    # The signal is at its default: whoever runs the tests may ignore it, which children inherit.
    code = "import pathlib, signal, time; signal.signal(signal.SIGTERM, signal.SIG_DFL); "
    code += f'pathlib.Path("{tmp_path}/started").touch(); time.sleep(86400)'
    helm = _fake_helm(tmp_path, f"exec {sys.executable} -c '{code}'")

    def cancel() -> None:
        while not (tmp_path / "started").exists():
            time.sleep(0.01)
        helm.cancel()

    canceller = threading.Thread(target=cancel)
    canceller.start()
    # It ends at all: helm itself would take a day.
    with pytest.raises(HelmError):
        helm.run(["install"])
    canceller.join()
    assert not helm.busy


def test_without_a_cluster_a_preview_still_works_and_an_installation_says_why_not(tmp_path: Path) -> None:
    helm = _fake_helm(tmp_path, "exit 1")
    releases = ReleaseResources(helm, "default", "no kubeconfig")
    inputs = _check(helm, chart=_chart(tmp_path), name="web").inputs
    assert releases.create(inputs, _Silent(), preview=True)[0] == ""
    with pytest.raises(ResourceError, match="no kubeconfig"):
        releases.create(inputs, _Silent(), preview=False)


@pytest.mark.parametrize(
    ("complaint", "error"),
    [
        ("Error: INSTALLATION FAILED: no room\n", "no room"),
        ("W1 warning\nError: UPGRADE FAILED: context deadline exceeded", "context deadline exceeded"),
        ("something else", "something else"),
        ("", "helm failed without a word"),
    ],
)
def test_helms_errors_lose_their_prefixes(complaint: str, error: str) -> None:
    assert explain(complaint) == error


def test_helm_never_leaves_the_cluster_of_the_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HELM_KUBEAPISERVER", "HELM_KUBETOKEN", "HELM_KUBECONTEXT", "HELM_NAMESPACE", "HELM_DRIVER"):
        monkeypatch.setenv(name, "elsewhere")
    with MemoryFile(b"of the provider") as kubeconfig:
        environment = child_environment({"HELM_PLUGINS": "here"}, kubeconfig)
    assert "elsewhere" not in environment.values()
    assert (environment["KUBECONFIG"], environment["HELM_PLUGINS"]) == (kubeconfig, "here")
