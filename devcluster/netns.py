"""Network namespaces without a container runtime, as root or as an ordinary user with user namespaces.

A namespace lives as long as its holder, a sleeping process of ours. The cluster has one:

- `POD_RANGE`, the addresses of pods that nothing runs for, is local in it: connections there are refused at once.
- `KUBELET_RANGE`, the addresses of pods that run as processes. Each has a namespace of its own and is reached by a /32
  route over a veth pair.
- `GATEWAY` is on `lo`: the way out of every pod, and the source address of what the cluster sends to pods.
- `LOAD_BALANCER_RANGE`, the addresses of Services of type LoadBalancer. They lead to pods by the rules of
  `kubelet.services`.

What runs in this namespace and in no pod's, as every command of `devcluster exec` does, is outside of the pod network:
no sidecar intercepts it, and it reaches a workload of the mesh as a client of a real cluster's load balancer does.

A user namespace is needed where the caller isn't root, and it has to map a range of users, because the interception
rules of a sidecar tell its traffic apart by its user id (1337). newuidmap(1) and /etc/subuid provide that range.
Commands: unshare(1), nsenter(1) and mount(8) of util-linux. Addresses and routes are set over netlink, by pyroute2.
"""

import contextlib
import errno
import functools
import ipaddress
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from devcluster import paths
from devcluster.processes import ProcessId, end

POD_RANGE = "10.244.0.0/17"
"""Pods that kwok plays."""
KUBELET_RANGE = "10.244.128.0/17"
"""Pods that run as real processes."""
GATEWAY = "10.244.255.254"
"""The cluster's own address, at the end of KUBELET_RANGE and never a pod's."""
LOAD_BALANCER_RANGE = "10.97.0.0/16"
"""Addresses of Services of type LoadBalancer."""
SIDECAR_USER = 1337
"""The user id of Istio's proxy (istio.io/istio, tools/istio-iptables: the default of --proxy-uid)."""

_POD_INTERFACE = "eth0"
_ARGUMENTS = 2


class NamespaceError(Exception):
    """A namespace can't be made or joined here. The message is a reason that people can act on."""


@dataclass(frozen=True)
class Support:
    """Whether this machine allows the namespaces that real pods need."""

    full: bool
    reason: str
    """Why not; empty where it is."""


@dataclass(frozen=True)
class Way:
    """One way to get a network namespace."""

    user: bool
    """With a user namespace around it."""

    @property
    def unshare_argv(self) -> list[str]:
        """The command that runs another one in new namespaces, and becomes it."""
        user = ["--user", "--map-root-user", "--map-auto"] if self.user else []
        return ["unshare", *user, "--net", "--mount", "--propagation", "private" if not self.user else "unchanged"]


def ways(effective_user: int) -> list[Way]:
    """Return the ways to try, best first. Root of a container may lack the right to the direct one."""
    return [Way(user=False), Way(user=True)] if effective_user == 0 else [Way(user=True)]


@functools.cache
def supported() -> Support:
    """Make the namespaces that the cluster and a pod need, to see whether this machine allows them; say why not."""
    try:
        namespace = Namespace.create(dict(os.environ))
    except NamespaceError as error:
        return Support(full=False, reason=str(error))
    namespace.close()
    return Support(full=True, reason="")


@dataclass(frozen=True)
class Namespace:
    """The cluster's network namespace, held by a process."""

    holder: ProcessId

    @classmethod
    def create(cls, environment: Mapping[str, str]) -> "Namespace":
        """Make a namespace with its addresses set, and a process that holds it after the caller has ended.

        Args:
            environment: The environment of the holder.

        Raises:
            NamespaceError: This machine does not allow it.
        """
        if sys.platform != "linux":
            raise NamespaceError(f"network namespaces are a feature of Linux, this is {sys.platform}")
        for command in ("unshare", "nsenter", "mount"):
            if not shutil.which(command):
                raise NamespaceError(f"the command {command} is missing: install util-linux")
        reasons: list[str] = []
        for way in ways(os.geteuid()):
            outside = str(_namespace_id(os.getpid(), "net"))
            argv = [*way.unshare_argv, sys.executable, "-m", "devcluster.netns", outside]
            try:
                return cls(_hold(argv, environment))
            except NamespaceError as error:
                reasons.append(explained(way, str(error)))
        raise NamespaceError("; ".join(reasons))

    @property
    def pid(self) -> int:
        """The process that holds the namespace."""
        return self.holder.pid

    @property
    def alive(self) -> bool:
        """Whether the holder still runs."""
        return self.holder.alive

    def enter_argv(self, command: Sequence[str]) -> list[str]:
        """Return the argument list that runs a command inside, in the same directory and with the same files."""
        return [*_enter(self.pid, ["--net"]), *command]

    def close(self) -> None:
        """End the holder. The kernel removes the namespace when the last process in it has ended."""
        end([self.holder], grace_seconds=1.0)


@dataclass(frozen=True)
class PodNamespace:
    """A pod's network and mount namespace inside the cluster's, held by a process."""

    holder: ProcessId
    address: str

    @property
    def pid(self) -> int:
        """The process that holds the namespaces."""
        return self.holder.pid

    @property
    def alive(self) -> bool:
        """Whether the holder still runs."""
        return self.holder.alive

    def enter_argv(self, command: Sequence[str], directory: Path | None = None) -> list[str]:
        """Return the argument list that runs a command inside.

        Args:
            command: What to run.
            directory: Where to run it. Without one it is the root folder, since joining a mount namespace leads there.
        """
        chdir = ["env", f"--chdir={directory}"] if directory else []
        return [*_enter(self.pid, ["--net", "--mount"]), *chdir, *command]

    def close(self) -> None:
        """End the holder. The kernel removes the veth pair with the namespace, after the last process in it."""
        end([self.holder], grace_seconds=0.5)


def attach_pod(parent: Namespace, address: str, hosts: Path, environment: Mapping[str, str]) -> PodNamespace:
    """Make a pod's namespaces inside the cluster's and join them by a veth pair.

    The caller runs inside the cluster's namespace, or is root.

    Args:
        parent: The cluster's namespace.
        address: The pod's address, of KUBELET_RANGE.
        hosts: A file that is the pod's /etc/hosts. Later changes to it, made in place, are seen in the pod.
        environment: The environment of the holder; pass the cluster's marker on in it.

    Raises:
        NamespaceError: It can't be made.
    """
    # Names are those of the hosts file. Without a name server to wait for, any other name fails at once.
    script = (
        'mount --bind "$1" /etc/hosts && { [ ! -e /etc/resolv.conf ] || mount --bind /dev/null /etc/resolv.conf; }'
        " && echo ready && exec sleep infinity >/dev/null"
    )
    argv = ["unshare", "--net", "--mount", "sh", "-c", script, "sh", str(hosts)]
    holder = _hold(parent.enter_argv(argv), environment)
    try:
        _join(parent.pid, holder.pid, address)
    except BaseException:
        end([holder], grace_seconds=0.0)
        raise
    return PodNamespace(holder, address)


def interface_name(address: str) -> str:
    """Return the name of the cluster's end of a pod's veth pair. Interface names end at 15 bytes."""
    return f"pod{int(ipaddress.IPv4Address(address)):08x}"


def maps_user(uid_map: str, user: int) -> bool:
    """Tell whether a user id exists in a user namespace, by the text of its /proc/PID/uid_map."""
    rows = [[int(field) for field in line.split()] for line in uid_map.splitlines()]
    return any(inside <= user < inside + count for inside, _, count in rows)


def explained(way: Way, message: str) -> str:
    """Return why a way to namespaces is barred and what helps, from what the system said."""
    if not way.user:
        return f"a network namespace is not allowed to root here ({message})"
    if "newuidmap" in message or "subuid" in message or "subgid" in message or "map" in message:
        remedy = (
            "install newuidmap (package uidmap or shadow-utils) and give the user a range in /etc/subuid and subgid"
        )
        return f"a user namespace can't get the user ids that sidecars need ({message}): {remedy}"
    return f"a user namespace is not allowed here ({message})"


def _enter(pid: int, namespaces: list[str]) -> list[str]:
    user = _namespace_id(pid, "user") != _namespace_id(os.getpid(), "user")
    # Credentials are kept because a process must not change its groups in some user namespaces, and 0 it is anyway.
    return ["nsenter", f"--target={pid}", *(["--user", "--preserve-credentials"] if user else []), *namespaces]


def _namespace_id(pid: int, kind: str) -> int:
    try:
        return Path(f"/proc/{pid}/ns/{kind}").stat().st_ino
    except OSError as error:
        raise NamespaceError(f"the namespace of process {pid} can't be entered: {error.strerror}") from error


def _hold(argv: Sequence[str], environment: Mapping[str, str]) -> ProcessId:
    """Start a holder and wait for its line `ready`; it keeps its process id through every exec."""
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(environment),
        cwd=paths.repository(),
        start_new_session=True,
    )
    _children.append(process)
    assert process.stdout is not None  # noqa: S101 - a pipe was asked for
    assert process.stderr is not None  # noqa: S101 - a pipe was asked for
    with process.stdout as stdout, process.stderr as stderr:
        line = stdout.readline()
        identity = ProcessId.of(process.pid)
        if line.strip() == b"ready" and identity is not None:
            return identity
        process.kill()
        process.wait()
        message = stderr.read().decode(errors="replace").strip()
    raise NamespaceError(message or f"{argv[0]} ended with status {process.returncode}")


# Kept so that an ended holder is reaped with the next one's start, and not reported as a leak.
_children: list[subprocess.Popen[bytes]] = []


def _netlink(pid: int) -> Any:
    from pyroute2 import IPRoute  # noqa: PLC0415 - a slow import  # pyright: ignore[reportMissingTypeStubs]

    return cast(Any, IPRoute)(netns=f"/proc/{pid}/ns/net")


def _index(link: Any, name: str) -> int:
    return link.link_lookup(ifname=name)[0]


@contextlib.contextmanager
def _tolerating(*codes: int):
    from pyroute2.netlink.exceptions import NetlinkError  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    try:
        yield
    except NetlinkError as error:
        if cast(Any, error).code not in codes:
            raise


def _gone_is_fine() -> contextlib.AbstractContextManager[None]:
    return _tolerating(errno.EADDRNOTAVAIL, errno.ENODEV)


def _join(cluster: int, pod: int, address: str) -> None:
    name = interface_name(address)
    with _netlink(cluster) as link:
        # A namespace whose last process has just ended is removed a moment later, and its veth pair with it.
        for index in link.link_lookup(ifname=name):
            with _gone_is_fine():
                link.link("del", index=index)
        link.link("add", ifname=name, kind="veth", peer={"ifname": _POD_INTERFACE, "net_ns_pid": pod})
        index = _index(link, name)
        link.link("set", index=index, state="up")
        link.route("add", dst=f"{address}/32", oif=index, prefsrc=GATEWAY, scope="link")
    with _netlink(pod) as link:
        link.link("set", index=_index(link, "lo"), state="up")
        index = _index(link, _POD_INTERFACE)
        link.addr("add", index=index, address=address, prefixlen=32)
        link.link("set", index=index, state="up")
        link.route("add", dst=f"{GATEWAY}/32", oif=index, scope="link")
        link.route("add", dst="0.0.0.0/0", gateway=GATEWAY, oif=index)


def _prepare() -> None:
    """Set up the namespace that this process was started in, and prove that a pod's can be made from here."""
    if not maps_user(Path("/proc/self/uid_map").read_text(), SIDECAR_USER):
        raise NamespaceError(f"user {SIDECAR_USER} does not exist in the namespace's uid map")
    with _netlink(os.getpid()) as link:
        loopback = _index(link, "lo")
        link.link("set", index=loopback, state="up")
        link.addr("add", index=loopback, address=GATEWAY, prefixlen=32)
        link.route("add", dst=POD_RANGE, oif=loopback, type="local", scope="host", table=255)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    hosts = Path("/etc/hosts")
    trial = attach_pod(Namespace(_myself()), str(ipaddress.IPv4Address(GATEWAY) - 1), hosts, dict(os.environ))
    trial.close()
    # `sleep`, which this process is about to become, does not wait for children.
    for child in _children:
        child.wait()


def _myself() -> ProcessId:
    identity = ProcessId.of(os.getpid())
    assert identity is not None  # noqa: S101 - this process runs
    return identity


def main() -> None:
    """Hold the namespace that unshare(1) started this process in: set it up, say `ready`, sleep."""
    # Never change the network of the machine itself: the caller says which namespace it is in.
    if len(sys.argv) != _ARGUMENTS or int(sys.argv[1]) == _namespace_id(os.getpid(), "net"):
        sys.exit("this module is started by Namespace.create, in a namespace of its own")
    try:
        _prepare()
    except (NamespaceError, OSError) as error:
        sys.exit(str(error))
    print("ready", flush=True)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    os.execvp("sleep", ["sleep", "infinity"])  # noqa: S606, S607


if __name__ == "__main__":
    main()
