"""The files and ports of one cluster: written whole or not at all, private to their owner, removed with care."""

import contextlib
import itertools
import os
import random
import shutil
import socket
import time
from collections.abc import Sequence
from pathlib import Path

from devcluster import components, netns, pki

RECORD = "cluster.json"
# What `down` removes. The stack of Pulumi keeps its own files in the same folder.
_FILES = ("pods", "etcd", "logs", "pki", "kwok.yaml", "kubeconfig", RECORD)
_POLL_SECONDS = 0.05


class FilesError(Exception):
    """A file or port of the cluster can't be had or removed. The message says why."""


def write(path: Path, content: bytes) -> None:
    """Write a file of the cluster as a whole or not at all, readable by its owner only."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    partial.replace(path)


def write_pki(folder: Path, name: str) -> None:
    """Make the cluster's certificates and keys, unless they are there; all of them or none."""
    if folder.exists():
        return
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    authority = pki.authority(f"meshup-{name}")
    etcd_authority = pki.authority(f"meshup-{name}-etcd")
    inside = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local"]
    addresses = [components.LOOPBACK, netns.GATEWAY, components.SERVICE_ADDRESS]
    pairs = {
        "ca": authority,
        "etcd-ca": etcd_authority,
        "etcd": pki.issued(etcd_authority, "etcd", names=["localhost"], addresses=[components.LOOPBACK]),
        "apiserver": pki.issued(authority, "kube-apiserver", names=["localhost", *inside], addresses=addresses),
        "admin": pki.issued(authority, "meshup-admin", organization="system:masters"),
        "controller-manager": pki.issued(authority, "system:kube-controller-manager"),
        "scheduler": pki.issued(authority, "system:kube-scheduler"),
    }
    for file, pair in pairs.items():
        write(partial / f"{file}.crt", pair.certificate_pem)
        write(partial / f"{file}.key", pair.key_pem)
    key = pki.new_key()
    write(partial / "service-account.key", pki.private_pem(key))
    write(partial / "service-account.pub", pki.public_pem(key))
    partial.replace(folder)


def free_ports(names: Sequence[str]) -> dict[str, int]:
    """Return a free port on loopback for each name. They are distinct, but nothing reserves them.

    They are below those that Linux gives to outgoing connections (ip_local_port_range, from 32768 on by default), so
    that a component which is started anew finds its port still free.

    Raises:
        FilesError: There are not enough.
    """
    candidates = random.sample(range(20000, 32000), 200)
    found = list(itertools.islice((port for port in candidates if is_free(port)), len(names)))
    if len(found) < len(names):
        raise FilesError(f"{len(names)} free ports on {components.LOOPBACK} between 20000 and 32000 are needed")
    return dict(zip(names, found, strict=True))


def is_free(port: int) -> bool:
    """Tell whether a port on loopback can be listened on, waiting a moment for one whose owner is just ending."""
    with socket.socket() as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for _ in range(20):
            try:
                trial.bind((components.LOOPBACK, port))
            except OSError:
                time.sleep(_POLL_SECONDS)
            else:
                return True
    return False


def mounts_below(mountinfo: str, folder: Path) -> list[str]:
    """Return the mount points below a folder, by the text of /proc/self/mountinfo (proc(5): field 5, octal escapes)."""
    points = [line.split()[4].encode().decode("unicode_escape") for line in mountinfo.splitlines()]
    return [point for point in points if Path(point).is_relative_to(folder)]


def remove(folder: Path) -> None:
    """Remove what belongs to the control plane. The folder goes with it if nobody else keeps anything there.

    Raises:
        FilesError: Something is mounted below it, which a removal would empty.
    """
    if not folder.exists():
        return
    mounted = mounts_below(Path("/proc/self/mountinfo").read_text(), folder)
    if mounted:
        raise FilesError(f"{folder} is not removed, for something is mounted in it: {', '.join(mounted)}")
    # The record of what the cluster is goes last, so that a removal cut short can be taken up again.
    for entry in (*folder.glob(".*"), *(folder / name for name in _FILES)):
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
