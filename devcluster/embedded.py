"""The embedded cluster as a whole: its tools, its cluster and its Pulumi stack, by one name."""

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import yaml

from devcluster import arguments, example, paths, stackfile
from devcluster.cluster import Cluster
from devcluster.example import Example
from devcluster.progress import Progress
from devcluster.stack import Stack, StackError, forget, stack_name
from devcluster.stackfile import Setting
from devcluster.toolchain import Toolbox


class Embedded:
    """One embedded cluster. Making the object starts nothing."""

    def __init__(self, name: str) -> None:
        """Name a cluster; nothing is started.

        Raises:
            ValueError: The name is not a valid one.
        """
        self.toolbox = Toolbox()
        self.cluster = Cluster(name)

    @property
    def stack(self) -> Stack:
        """The stack of this cluster, of the repository's own program: the example's, if it has one. It must be up."""
        return self._stack(self.example)

    def _stack(self, chosen: Example | None) -> Stack:
        passphrase = paths.state_dir() / f"{self.cluster.name}.passphrase"
        name = stack_name(self.cluster.name, paths.DEFAULT_CLUSTER, chosen.name if chosen else "")
        return self.stack_of(paths.repository(), self.cluster.directory, passphrase, name)

    @property
    def example(self) -> Example | None:
        """The example that runs on this cluster, if any."""
        return example.of(self.cluster)

    @property
    def authority(self) -> Path | None:
        """The certificate by which that of the example's gateway is checked."""
        return self.example.authority if self.example else None

    def choose(self, name: str) -> Example:
        """Return an example, if this cluster can take it. The cluster must be up.

        Raises:
            StackError: The cluster has another stack, which has a mesh of its own.
        """
        if self.example is None and self._stack(None).exists:
            down = arguments.make_line("down", self.cluster.name)
            raise StackError(
                f"The cluster {self.cluster.name} has the stack {self._stack(None).name} already. Run `{down}` first, "
                f'or give the example a cluster of its own: `make up ARGS="--example {name} --name {name}"`.'
            )
        return Example(name, example.folder(self.cluster))

    def stack_of(self, project: Path, state: Path, passphrase: Path, name: str) -> Stack:
        """Return a stack of any program, run where this cluster can be reached. The cluster must be up."""
        return Stack(project, state, passphrase, self.environment(), self.cluster.exec_argv, name)

    def environment(self) -> dict[str, str]:
        """Return the environment of every command on this cluster, without Pulumi's own part."""
        return self.toolbox.env({**os.environ, **self.cluster.environment()})

    def down(self, progress: Progress) -> None:
        """End the cluster and forget its stack's state; the stack's configuration file stays.

        Raises:
            ClusterError: Something can't be ended.
        """
        self.cluster.down(progress)
        # After the cluster: without its state a cluster could not be updated, without its cluster a state is void.
        forget(self.cluster.directory)
        example.forget(self.cluster)
        with contextlib.suppress(OSError):
            self.cluster.directory.rmdir()

    def prepare(self, stack: Stack) -> None:
        """Give a stack the configuration keys that are this cluster's own.

        Raises:
            StackError: Its configuration file can't be used.
        """
        stack.keep_only_for(authority(self.cluster.kubeconfig.read_text()))
        text = stack.file.read_text() if stack.file.exists() else ""
        stack.prepare(
            settings(
                context=self.cluster.context,
                charts=self.toolbox.path("istio-charts"),
                bundle=self.toolbox.path("gateway-api-crds") / "standard",
                users=users_settings(text),
                pods=self.cluster.mode == "full",
            ),
            self.example.stack if self.example else None,
        )


def authority(kubeconfig: str) -> str:
    """Return what tells a cluster from another of the same name: its certificate authority, made anew with each."""
    return yaml.safe_load(kubeconfig)["clusters"][0]["cluster"]["certificate-authority-data"]


def settings(
    context: str, charts: Path, bundle: Path, users: Mapping[str, object], *, pods: bool
) -> dict[str, Setting]:
    """Return the configuration keys that belong to the cluster and not to the user.

    Args:
        context: The kubeconfig context.
        charts: The folder of Istio's charts. A place that the user has set wins.
        bundle: The folder of the Gateway API's CustomResourceDefinitions. A manifest that the user has set wins.
        users: The configuration of the stack so far, by key.
        pods: Whether pods run as processes. Where they don't, no istiod would answer Istio's webhooks, and every
            pod would be refused; so they are left out by the chart's own switch.
    """
    own: dict[str, Setting] = {"kubernetes:context": context, "meshup:environment": "dev"}
    source = _mapping(users.get("meshup:charts"))
    if not source or _built(source.get("directory")):
        own["meshup:charts"] = {"directory": str(charts)}
    gateway_api = _mapping(users.get("meshup:gatewayApi"))
    if "manifest" not in gateway_api or _built(gateway_api["manifest"]):
        own["meshup:gatewayApi"] = {**gateway_api, "manifest": str(bundle)}
    if not pods:
        own["meshup:istio"] = {**_mapping(users.get("meshup:istio")), "webhooks": False}
    return own


def users_settings(text: str) -> Mapping[str, object]:
    """Return the configuration in a stack file; empty for a file that can't be read, which `Stack.prepare` reports."""
    try:
        return stackfile.configuration(text)
    except ValueError:
        return {}


def _built(place: object) -> bool:
    """Whether a place is in the cache of tools, so that an earlier `up` wrote it."""
    return isinstance(place, str) and Path(place).is_relative_to(paths.cache_dir())


def _mapping(value: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", value) if isinstance(value, dict) else {}
