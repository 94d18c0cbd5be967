"""Whether a webhook of the mesh adds sidecars in the namespaces that join it. Pure."""

from collections.abc import Mapping

from components.diagnostics import Diagnostic
from components.diagnostics.validation import join
from components.meshes import MESHES
from components.meshes.existing import webhooks
from components.meshes.interface import labels_of
from components.namespace import Joined
from stacks import namespaces
from stacks.cluster import ClusterView
from stacks.other_meshes import selects
from stacks.plan import Plan


def check(plan: Plan, view: ClusterView) -> list[Diagnostic]:
    """Warn of namespaces that no webhook on the cluster takes, such as for a revision that there is not.

    The webhook of the control plane that this stack installs is left out: it may not be there yet.
    """
    own = plan.mesh.output["revision"] if plan.mesh.existing is None else None
    wanted = [joined for joined in plan.joined if joined.inject and joined.revision != own]
    if not wanted:
        return []
    kind = MESHES[plan.mesh.name]
    configs = [config for end in kind.signature.injectors for config in webhooks(view, end)]
    selectors = [hook.get("namespaceSelector") for config in configs for hook in config["webhooks"]]
    live = {item["name"]: labels_of(item) for item in view.metadata("v1", "Namespace")}
    made = {item["name"]: labels_of(item) for item in plan.namespaces}
    diagnostics: list[Diagnostic] = []
    for joined in wanted:
        # Other labels by which a namespace joins are refused, or are this stack's own and go.
        kept = {key: value for key, value in live.get(joined.name, {}).items() if key not in kind.joined_by}
        labels = {**kept, **made.get(joined.name, {}), **_set(joined), "kubernetes.io/metadata.name": joined.name}
        if not any(selects(selector, labels) for selector in selectors):
            message = f"No webhook of {kind.signature.title} takes this namespace, so its pods get no sidecar."
            path = join(namespaces.PATH, joined.name)
            diagnostics.append(Diagnostic("MSH049", path, joined.revision, message, severity="warning"))
    return diagnostics


def _set(joined: Joined) -> Mapping[str, str]:
    return labels_of(joined.patch["metadata"]) if joined.patch else {}
