"""Applications that run on the embedded cluster before there is a mesh.

A folder of `devcluster/examples` has the objects (`objects.yaml`), which kubectl applies, and the stack that takes the
application into the mesh (`stack.yaml`, with `FOLDER` for the folder of the certificates that are made for it).
"""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from devcluster import files, pki
from devcluster.cluster import Cluster, ClusterError
from devcluster.progress import Progress

_FOLDER = Path(__file__).with_name("examples")
_NAME = "name"
_AUTHORITY = "ca.crt"


@dataclass(frozen=True)
class Example:
    """An application of `devcluster/examples`.

    Attributes:
        name: The name of its folder, and of its namespace.
        state: The folder for its certificates, in the cluster's.
    """

    name: str
    state: Path

    @property
    def objects(self) -> Path:
        """The manifest that kubectl applies."""
        return _FOLDER / self.name / "objects.yaml"

    @property
    def stack(self) -> str:
        """The text of a new stack file."""
        return (_FOLDER / self.name / "stack.yaml").read_text().replace("FOLDER", str(self.state))

    @property
    def host(self) -> str:
        """The host name that callers from outside use."""
        return f"{self.name}.example.com"

    @property
    def authority(self) -> Path:
        """The certificate of the authority that issued the host's."""
        return self.state / _AUTHORITY

    def bring_up(self, cluster: Cluster, environment: Mapping[str, str], progress: Progress) -> None:
        """Make its certificates, apply its objects, wait for its pods, and record it as the cluster's.

        Raises:
            ClusterError: kubectl refuses, or the pods do not become ready.
        """
        with progress.step(f"example {self.name}") as step:
            self.issue()
            kubectl = ["kubectl", "--namespace", self.name]
            for command in (
                ["apply", "--filename", str(self.objects)],
                # Without a kubelet, kwok plays the pods.
                ["wait", "deployment", "--all", "--for=condition=Available", "--timeout=300s"],
            ):
                argv = cluster.exec_argv([*kubectl, *command])
                done = subprocess.run(argv, env=dict(environment), capture_output=True, text=True, check=False)
                if done.returncode != 0:
                    raise ClusterError(f"kubectl {command[0]} of the example {self.name}: {done.stderr.strip()}")
            files.write(self.state / _NAME, self.name.encode())
            step.remark = f"applied by kubectl from {self.objects.relative_to(_FOLDER.parents[1])}"

    def issue(self) -> None:
        """Make the authority and the certificate of the host once, so that the stack finds them unchanged."""
        if self.authority.exists():
            return
        self.state.mkdir(mode=0o700, exist_ok=True)
        authority = pki.authority(f"example {self.name}")
        pair = pki.issued(authority, self.host, names=[self.host])
        files.write(self.state / f"{self.host}.crt", pair.certificate_pem)
        files.write(self.state / f"{self.host}.key", pair.key_pem)
        files.write(self.authority, authority.certificate_pem)


def names() -> list[str]:
    """Return the names of the examples."""
    return sorted(entry.name for entry in _FOLDER.iterdir())


def folder(cluster: Cluster) -> Path:
    """Return the folder for what a cluster has of an example."""
    return cluster.directory / "example"


def of(cluster: Cluster) -> Example | None:
    """Return the example that runs on a cluster, if any."""
    record = folder(cluster) / _NAME
    return Example(record.read_text(), folder(cluster)) if record.exists() else None


def forget(cluster: Cluster) -> None:
    """Remove what a cluster has of an example."""
    shutil.rmtree(folder(cluster), ignore_errors=True)
