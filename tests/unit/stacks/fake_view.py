"""A cluster as plain data, and the plan of a stack on it."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from components.diagnostics import Diagnostic
from components.gateway_api import GATEWAY_API as PINNED
from components.manifests import Manifest, ObjectRef
from stacks import checks, plan, settings
from stacks.cluster import ClusterError, ClusterView
from stacks.ownership import Claims
from stacks.plan import Plan
from stacks.settings import RawConfig
from stacks.state import Reader, Stack

OWNER = "organization/meshup/dev"


def item(kind: str, metadata: Mapping[str, Any], **more: Any) -> Manifest:
    """An object of a cluster; its version does not matter."""
    return {"kind": kind, "metadata": dict(metadata), **more}


GATEWAY_API = [
    item(
        "CustomResourceDefinition",
        {
            "name": f"{plural}.gateway.networking.k8s.io",
            "annotations": {
                "gateway.networking.k8s.io/bundle-version": PINNED,
                "gateway.networking.k8s.io/channel": "standard",
            },
        },
    )
    for plural in ("httproutes", "grpcroutes")
]
"""The bundle of the Gateway API, of somebody else."""


class FakeCluster:
    """Objects by kind, and kinds that may not be listed."""

    def __init__(self, objects: Iterable[Manifest] = GATEWAY_API, refused: Collection[str] = ()) -> None:
        self.live = list(objects)
        self.refused = refused

    def objects(
        self, api_version: str, kind: str, namespace: str = "", *, metadata_only: bool = False
    ) -> list[Manifest]:
        del api_version, metadata_only
        if kind in self.refused:
            raise ClusterError(
                "MSH024", "kind-dev", f"somebody may not list {kind} in {namespace or 'all namespaces'}."
            )
        found = [item for item in self.live if item["kind"] == kind]
        return [item for item in found if namespace in ("", item["metadata"].get("namespace", ""))]


def view_of(*objects: Manifest, refused: Collection[str] = ()) -> ClusterView:
    return ClusterView(FakeCluster([*GATEWAY_API, *objects], refused), "v1.36.3")


def no_state(stack: str) -> dict[ObjectRef, str]:
    del stack
    return {}


def stack_of(owner: str = OWNER, states: Reader = no_state, environ: Mapping[str, str] | None = None) -> Stack:
    return Stack(owner, states, environ or {})


def build(
    config: RawConfig, stack: Stack | None = None, view: ClusterView | None = None
) -> tuple[Plan | None, list[Diagnostic]]:
    """Return the plan of a stack and all diagnostics; by default on a cluster that has the Gateway API."""
    stack = stack or stack_of()
    chosen, found = settings.load(config, stack.name)
    return plan.build(chosen, found, stack, view or view_of())


def planned(config: RawConfig, stack: Stack | None = None) -> Plan:
    """Return the plan of a stack without any diagnostics."""
    made, diagnostics = build(config, stack)
    assert diagnostics == []
    assert made is not None
    return made


def compare(config: RawConfig, view: ClusterView, stack: Stack | None = None) -> tuple[Plan, Claims, list[Diagnostic]]:
    """Plan a stack and compare it with a cluster; return all diagnostics."""
    stack = stack or stack_of()
    chosen = settings.load(config, stack.name)[0]
    made, diagnostics = build(config, stack, view)
    assert made is not None, diagnostics
    claims, found = checks.check(chosen, made, stack, view)
    return made, claims, [*diagnostics, *found]
