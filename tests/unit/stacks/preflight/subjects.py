"""Subjects of preflight from plain data: a planned stack, a cluster, and answers of its API server."""

from collections.abc import Collection, Iterable
from typing import Any

from components.manifests import Manifest
from stacks import settings
from stacks.checking import Check
from stacks.cluster import ClusterView
from stacks.preflight import Probes, Rendered, Subject
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import GATEWAY_API, OWNER, FakeCluster, build, item

NOW = 1_800_000_000.0
"""The own time of a subject, in seconds since 1970."""


def node(name: str = "one", *, ready: str = "True", **info: str) -> Manifest:
    """A node of Linux with four processors and 16 GiB."""
    return item(
        "Node",
        {"name": name, "labels": {"kubernetes.io/os": "linux"}},
        spec={},
        status={
            "allocatable": {"cpu": "4", "memory": "16Gi"},
            "conditions": [{"type": "Ready", "status": ready}],
            "nodeInfo": {"architecture": "amd64", "kubeletVersion": "v1.34.1", **info},
        },
    )


def subject(
    *live: Manifest,
    probes: Probes | None = None,
    rendered: Iterable[Manifest] = (),
    refused: Collection[str] = (),
    **keys: Any,
) -> Subject:
    """Return a subject: the README's stack with other keys, on a cluster that has a node and these objects.

    Args:
        live: Objects of the cluster.
        probes: Answers of the API server.
        rendered: What the chart of the control plane renders to.
        refused: Kinds that may not be listed.
        keys: Other keys of the configuration.
    """
    config = raw(**keys)
    view = ClusterView(FakeCluster([*GATEWAY_API, *live], refused), "v1.36.3")
    made, diagnostics = build(config, view=view)
    assert made is not None, diagnostics
    by_release = {made.releases[-1]["name"]: list(rendered)} if made.releases else {}
    chosen = settings.load(config, "dev")[0]
    return Subject(chosen, made, OWNER, view, Rendered(by_release), probes or Probes(now=NOW))


def found(check: Check[Subject], asked: Subject) -> list[tuple[str, str]]:
    """Return code and path of what a check finds; no code is reported that it does not declare."""
    diagnostics = check.run(asked)
    assert {fault.code for fault in diagnostics} <= set(check.codes)
    assert all(fault.remedy for fault in diagnostics)
    return [(fault.code, fault.path) for fault in diagnostics]


__all__ = ["NOW", "found", "node", "subject"]
