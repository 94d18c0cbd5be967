"""Check the objects for the Prometheus operator against the cluster: its definitions, and who selects the objects."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.addons.prometheus import PrometheusSettings
from components.diagnostics import Diagnostic
from components.manifests import Manifest
from components.meshes.interface import labels_of
from components.observability.operator import API_VERSION, CRDS
from stacks.cluster import ClusterView
from stacks.other_meshes import selects
from stacks.plan import Plan
from stacks.settings import Settings

_MODE, _LABELS = "meshup:prometheus.mode", "meshup:prometheus.operator.labels"
_SELECTORS = {
    "PodMonitor": ("podMonitorSelector", "podMonitorNamespaceSelector"),
    "PrometheusRule": ("ruleSelector", "ruleNamespaceSelector"),
}
"""By which a Prometheus of the operator selects objects and their namespaces (pkg/apis/monitoring/v1, v0.93.1)."""


def check(settings: Settings, plan: Plan, view: ClusterView) -> list[Diagnostic]:
    """Check whether the operator is there if it is asked for, and asked for if it is there.

    Args:
        settings: The settings of the stack.
        plan: What the stack will have.
        view: The cluster.
    """
    chosen = settings.section(PrometheusSettings)
    if not chosen.enabled:
        return []
    names = {item["name"] for item in view.metadata("apiextensions.k8s.io/v1", "CustomResourceDefinition")}
    missing = [name for name in CRDS if name not in names]
    made = [item for addon in plan.addons for item in addon.objects if item["apiVersion"] == API_VERSION]
    if chosen.mode == "operator" and missing:
        message = f"The Prometheus operator is not on the cluster: {', '.join(missing)} are missing."
        return [Diagnostic("MSH631", _MODE, chosen.mode, message, "chart, or a cluster with the operator")]
    if chosen.mode == "operator":
        return list(_unselected(made, view))
    if not missing and "mode" not in chosen.model_fields_set:
        message = "The cluster has the Prometheus operator, and meshup installs a Prometheus of its own beside it."
        remedy = "Set `mode: operator` to have its Prometheus scrape and compute, or `mode: chart`, which says no more."
        return [Diagnostic("MSH632", _MODE, None, message, remedy=remedy, severity="info")]
    return []


def _unselected(made: Sequence[Manifest], view: ClusterView) -> Iterator[Diagnostic]:
    """Find kinds of objects that no Prometheus takes. Whoever may not list them is told nothing."""
    servers = view.if_allowed(API_VERSION, "Prometheus")
    namespaces = {item["name"]: labels_of(item) for item in view.metadata("v1", "Namespace")} if servers else {}
    unselected = [one for one in made if not any(_takes(server, one, namespaces) for server in servers)]
    kinds = sorted({one["kind"] for one in unselected})
    if not servers or not kinds:
        return
    wanted = sorted({_text(server["spec"].get(_SELECTORS[kind][0])) for server in servers for kind in kinds})
    message = (
        f"No Prometheus of the operator selects the objects of the kinds {', '.join(kinds)}: it would ignore them."
    )
    written = unselected[0]["metadata"]["labels"]
    yield Diagnostic("MSH633", _LABELS, written, message, f"labels for {' or '.join(wanted)}", severity="warning")


def _takes(server: Manifest, item: Manifest, namespaces: Mapping[str, Mapping[str, str]]) -> bool:
    spec, (selector, of_namespaces) = server["spec"], _SELECTORS[item["kind"]]
    # Without a selector it selects nothing.
    if spec.get(selector) is None or not selects(spec[selector], item["metadata"]["labels"]):
        return False
    name = item["metadata"]["namespace"]
    if spec.get(of_namespaces) is None:
        return name == server["metadata"]["namespace"]
    labels = {"kubernetes.io/metadata.name": name, **namespaces.get(name, {})}
    return selects(spec[of_namespaces], labels)


def _text(selector: Mapping[str, Any] | None) -> str:
    if selector is None:
        return "nothing at all"
    exact: Mapping[str, str] = selector.get("matchLabels") or {}
    expressions: Sequence[Mapping[str, Any]] = selector.get("matchExpressions") or []
    parts = [f"{key}: {value}" for key, value in sorted(exact.items())]
    parts += [f"{one['key']} {one['operator']}" for one in expressions]
    return "{" + ", ".join(parts) + "}"
