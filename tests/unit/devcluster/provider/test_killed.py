"""The plugin as a process of its own, killed while helm is at work."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, cast

import grpc
import pytest
import yaml
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

from devcluster import paths
from devcluster.provider import properties
from tests.unit.stacks.fake_api import USER, Api, api, encoded

__all__ = ["api"]

_URN = "urn:pulumi:dev::p::kubernetes:helm.sh/v3:Release::web"
_HELM = """#!/bin/sh
case "$1" in install) ;; *) echo "version: 1"; exit;; esac
cat "$KUBECONFIG" > "$0.kubeconfig"
echo $$ > "$0.pid.new"; mv "$0.pid.new" "$0.pid"
exec sleep 600
"""


@pytest.mark.parametrize("secret", ["kubeconfig", "password"])
def test_a_plugin_that_is_killed_leaves_no_credential(api: Api, tmp_path: Path, secret: str) -> None:
    user = {"client-certificate-data": encoded(USER.certificate_pem), "client-key-data": encoded(USER.key_pem)}
    (tmp_path / "kubeconfig").write_text(json.dumps(api.kubeconfig(user)))
    folder = tmp_path / "temporary"
    folder.mkdir()
    helm = tmp_path / "helm"
    helm.write_text(_HELM)
    helm.chmod(0o755)
    plugin = subprocess.Popen(
        [sys.executable, "-m", "devcluster.provider", "127.0.0.1:1"],
        cwd=paths.repository(),
        env={
            **os.environ,
            "TMPDIR": str(folder),
            "KUBECONFIG": str(tmp_path / "kubeconfig"),
            "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        },
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert plugin.stdout is not None
        channel = grpc.insecure_channel(f"127.0.0.1:{plugin.stdout.readline().strip()}")
        provider = cast("Any", provider_pb2_grpc.ResourceProviderStub(channel))
        provider.Configure(provider_pb2.ConfigureRequest(variables={}, acceptSecrets=True))
        inputs: dict[str, Any] = {"name": "web", "namespace": "default", "chart": "c", "values": {}, "timeout": 600}
        if secret == "password":  # noqa: S105 # the name of a case
            inputs["repositoryOpts"] = {"repo": "https://h", "username": "u", "password": "hush"}
        request = provider_pb2.CreateRequest(urn=_URN, properties=properties.encode(inputs))
        running = provider.Create.future(request)
        pid = tmp_path / "helm.pid"
        while not pid.exists():
            assert not running.done(), running.exception()
            time.sleep(0.05)
    finally:
        plugin.kill()
        plugin.wait()
    os.kill(int(pid.read_text()), signal.SIGKILL)
    assert [file for file in folder.rglob("*") if file.is_file()] == []
    used = yaml.safe_load((tmp_path / "helm.kubeconfig").read_text())
    assert used["users"][0]["user"]["client-key-data"] == encoded(USER.key_pem)
