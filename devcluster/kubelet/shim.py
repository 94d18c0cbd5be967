"""The process that is one pod: it holds the pod's namespaces and runs its containers.

Linux only, standard library only.

The kubelet starts one shim per pod, as a plain script. The shim leaves the kubelet's network, mount, PID and host-name
namespaces for new ones and forks: the child is PID 1 there, so when it ends, for whatever reason, the kernel ends
every process of the pod, and with the last of them go the namespace and its end of the veth pair
(pid_namespaces(7), network_namespaces(7)). The kernel also ends the shim when the kubelet dies (PR_SET_PDEATHSIG,
prctl(2)), so nothing of a pod outlives its kubelet.

Both sides speak lines of JSON, commands on the shim's standard input and events on its standard output:

| command | meaning |
| --- | --- |
| `{"do": "set-up", "address", "gateway", "root", "logs", "hostname", "mounts", "links", "files", "directories", \
"sysctls"}` | the pod's root and its network; first of all, once |
| `{"do": "run", "name", "argv", "env", "user", "group", "log"}` | start a process in the pod's root, its output \
appended to the file `log` in the folder `logs` |
| `{"do": "signal", "name", "signal"}` | signal that process |

| event | meaning |
| --- | --- |
| `{"event": "born", "pid"}` | PID 1 of the pod as the kubelet sees it |
| `{"event": "ready"}` | the set-up is done |
| `{"event": "started", "name"}`, `{"event": "exited", "name", "code"}` | code as a container runtime gives it: 128 + \
signal when a signal ended it |
| `{"event": "failed", "message"}` | the set-up failed; the shim ends |
"""

import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

# <linux/sched.h>, <linux/mount.h>, <linux/prctl.h>
_CLONE_NEWNS = 0x00020000
_CLONE_NEWUTS = 0x04000000
_CLONE_NEWPID = 0x20000000
_CLONE_NEWNET = 0x40000000
_MS_RDONLY = 0x1
_MS_NOSUID = 0x2
_MS_REMOUNT = 0x20
_MS_BIND = 0x1000
_MS_REC = 0x4000
_MS_PRIVATE = 0x40000
_PR_SET_PDEATHSIG = 1

# <linux/sockios.h>, <linux/if.h>, <linux/route.h>
_SIOCADDRT = 0x890B
_SIOCGIFFLAGS = 0x8913
_SIOCSIFFLAGS = 0x8914
_SIOCSIFADDR = 0x8916
_SIOCSIFNETMASK = 0x891C
_IFF_UP = 0x1
_RTF_UP = 0x1
_RTF_GATEWAY = 0x2
_RTF_HOST = 0x4

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> None:
    """Become the pod: read commands from standard input until it closes, then end with everything in the pod."""
    _die_with_parent()
    _checked(_libc.unshare(_CLONE_NEWNS | _CLONE_NEWUTS | _CLONE_NEWPID | _CLONE_NEWNET), "unshare")
    child = os.fork()
    if child:
        _tell(event="born", pid=child)
        # Commands and events are the child's from here on; this process stays to carry its end outside.
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        os.waitpid(child, 0)
        os._exit(0)
    _die_with_parent()
    try:
        _Init().serve()
    except OSError as fault:
        _tell(event="failed", message=str(fault))
        os._exit(1)


class _Init:
    """PID 1 of the pod."""

    def __init__(self) -> None:
        self.logs = -1
        self.names: dict[int, str] = {}
        self.buffer = b""

    def serve(self) -> NoReturn:
        wake, waker = os.pipe()
        for end in (wake, waker):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(waker)
        signal.signal(signal.SIGCHLD, _woken)
        while True:
            readable, _, _ = select.select([0, wake], [], [])
            if wake in readable:
                with contextlib.suppress(BlockingIOError):
                    os.read(wake, 512)
                self.reap()
            if 0 in readable:
                data = os.read(0, 65536)
                if not data:
                    os._exit(0)
                self.buffer += data
                *lines, self.buffer = self.buffer.split(b"\n")
                for line in lines:
                    self.obey(json.loads(line))

    def obey(self, command: dict[str, Any]) -> None:
        match command["do"]:
            case "set-up":
                self.logs = os.open(command["logs"], os.O_RDONLY | os.O_DIRECTORY)
                _set_up_network(command["address"], command["gateway"])
                for path, value in command["sysctls"].items():
                    Path(f"/proc/sys/{path}").write_text(value)
                _set_up_root(command)
                os.chroot(command["root"])
                os.chdir("/")
                _tell(event="ready")
            case "run":
                self.names[_start(command, self.logs)] = command["name"]
                _tell(event="started", name=command["name"])
            case "signal":
                for process, name in self.names.items():
                    if name == command["name"]:
                        os.kill(process, command["signal"])
            case _:
                pass

    def reap(self) -> None:
        while True:
            try:
                process, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not process:
                return
            # Orphans of the pod end up here as well; only what was started by name is reported.
            name = self.names.pop(process, None)
            if name is not None:
                code = os.waitstatus_to_exitcode(status)
                _tell(event="exited", name=name, code=code if code >= 0 else 128 - code)


def _woken(number: int, frame: Any) -> None:
    """Do nothing: only with a handler does SIGCHLD write to the wake-up pipe."""


def _start(command: dict[str, Any], logs: int) -> int:
    process = os.fork()
    if process:
        return process
    try:
        os.setsid()
        log = os.open(command["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644, dir_fd=logs)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.closerange(3, 1024)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if command["user"] or command["group"]:
            # Envoy's access log opens /dev/stdout by name, which takes the rights to the file behind it.
            os.fchown(1, command["user"], command["group"])
            os.setgroups([command["group"]])
            os.setgid(command["group"])
            os.setuid(command["user"])
        os.execvpe(command["argv"][0], command["argv"], command["env"])  # noqa: S606 - its purpose
    except OSError as fault:
        os.write(2, f"can't start {command['argv'][0]}: {fault}\n".encode())
    # As a shell reports a command that can't be executed.
    os._exit(126)


def _set_up_root(command: dict[str, Any]) -> None:
    """Build the pod's file system: a tmpfs with what the host lends (read-only) and the pod's volumes (as asked)."""
    root: str = command["root"]
    # Nothing that is mounted here may show up outside.
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    _mount("tmpfs", root, "tmpfs", 0, "mode=755")
    for directory in command["directories"]:
        path = Path(root + directory)
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o1777)
    for mount in command["mounts"]:
        source, target = mount["source"], root + mount["target"]
        if Path(source).is_dir():
            Path(target).mkdir(parents=True, exist_ok=True)
        else:
            _parent(target).touch()
        _mount(source, target, None, _MS_BIND | _MS_REC)
        if mount["readOnly"]:
            # A bind mount takes its flags only when mounted again (mount(2)). In a user namespace the kernel may
            # hold flags of the source that it doesn't let go of; then the mount stays as it is.
            with contextlib.suppress(OSError):
                _mount(None, target, None, _MS_BIND | _MS_REMOUNT | _MS_RDONLY | _MS_NOSUID)
    for target, source in command["links"].items():
        _parent(root + target).symlink_to(source)
    for target, text in command["files"].items():
        _parent(root + target).write_text(text)
    socket.sethostname(command["hostname"])


def _parent(path: str) -> Path:
    """Return the path after its folder was made."""
    result = Path(path)
    result.parent.mkdir(parents=True, exist_ok=True)
    return result


def _set_up_network(address: str, gateway: str) -> None:
    """Give `eth0` the pod's address, alone in its subnet, and send everything else to the gateway."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        _bring_up(control, "lo")
        fcntl.ioctl(control, _SIOCSIFADDR, _interface("eth0", _endpoint(address)))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _interface("eth0", _endpoint("255.255.255.255")))
        _bring_up(control, "eth0")
        _route(control, gateway, None, "255.255.255.255", _RTF_UP | _RTF_HOST)
        _route(control, "0.0.0.0", gateway, "0.0.0.0", _RTF_UP | _RTF_GATEWAY)  # noqa: S104 - the default route


def _bring_up(control: socket.socket, interface: str) -> None:
    request = _interface(interface, b"\0" * 16)
    (flags,) = struct.unpack_from("H", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
    fcntl.ioctl(control, _SIOCSIFFLAGS, _interface(interface, struct.pack("H14x", flags | _IFF_UP)))


def _interface(name: str, value: bytes) -> bytes:
    """Struct ifreq of netdevice(7)."""
    return struct.pack("16s16s8x", name.encode(), value)


def _endpoint(address: str) -> bytes:
    """Struct sockaddr_in."""
    return struct.pack("HH4s8x", socket.AF_INET, 0, socket.inet_aton(address))


def _route(control: socket.socket, target: str, gateway: str | None, mask: str, flags: int) -> None:
    device = ctypes.create_string_buffer(b"eth0")
    # struct rtentry of <linux/route.h>, 64 bit.
    request = struct.pack(
        "L16s16s16sHhLPhPLLH6x",
        0,
        _endpoint(target),
        _endpoint(gateway or "0.0.0.0"),  # noqa: S104 - no gateway
        _endpoint(mask),
        flags,
        0,
        0,
        0,
        0,
        ctypes.addressof(device),
        0,
        0,
        0,
    )
    fcntl.ioctl(control, _SIOCADDRT, request)


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str = "") -> None:
    result = _libc.mount(
        source.encode() if source else None,
        target.encode(),
        kind.encode() if kind else None,
        ctypes.c_ulong(flags),
        data.encode() or None,
    )
    _checked(result, f"mount {source} on {target}")


def _die_with_parent() -> None:
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL), 0, 0, 0), "prctl")


def _checked(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _tell(**event: Any) -> None:
    os.write(1, json.dumps(event).encode() + b"\n")


if __name__ == "__main__":
    try:
        main()
    except OSError as fault:
        _tell(event="failed", message=str(fault))
        sys.exit(1)
