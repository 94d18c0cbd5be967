"""What happens around single resources: marks on every object, and hooks that run right before an operation in `up`.

The components know nothing of it: one stack transformation adds it all. Hooks are called by the engine, so they work
with any plugin, and they never run in a preview.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import pulumi
import urllib3
from kubernetes.client.exceptions import ApiException

from components.helm import RELEASE_TYPE
from stacks import delivery, ownership, target
from stacks.ownership import kept
from stacks.plan import Plan
from stacks.settings import Settings
from stacks.target import Cluster

DESTINATION_RULE_TYPE = "kubernetes:networking.istio.io/v1:DestinationRule"
"""Pulumi's type token of a DestinationRule."""


def transformation(chosen: Settings, planned: Plan, owner: str, cluster: Cluster) -> pulumi.ResourceTransformation:
    """Mark every object with its stack, keep secret values secret, and put the hooks where they belong."""
    release_hooks = pulumi.ResourceHookBinding(
        before_create=[pulumi.ResourceHook("clear-release-record", _cleaner(cluster, "create"))],
        before_update=[pulumi.ResourceHook("clear-pending-release-record", _cleaner(cluster, "update"))],
    )
    routes = {item["metadata"]["namespace"] + "/" + item["metadata"]["name"]: item for item in _routes(planned)}
    subset_hooks = pulumi.ResourceHookBinding(
        before_update=[pulumi.ResourceHook("routes-before-subsets", _route_mover(cluster, routes, owner))]
    )

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        props = dict(cast("dict[str, Any]", args.props))
        opts = args.opts
        if args.type_ == RELEASE_TYPE:
            # Routes are never secret, and hidden values would hide what a preview changes.
            if chosen.mesh in chosen.secret and props["name"] != delivery.release_name(owner):
                props["values"] = pulumi.Output.secret(props["values"])
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=release_hooks))
        elif "metadata" in props:
            props["metadata"] = ownership.marked(props["metadata"], owner)
            if args.type_ == DESTINATION_RULE_TYPE:
                opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=subset_hooks))
        else:
            return None
        return pulumi.ResourceTransformationResult(props, opts)

    return transform


def clear(
    cluster: Cluster, release: str, namespace: str, operation: Literal["create", "update"], say: Callable[[str], None]
) -> None:
    """Delete the records of a release that an interrupted run left behind (docs/decisions/0001-recovery.md)."""
    records = cluster.metadata("v1", "secrets", namespace)
    for record in ownership.stale_records(release, operation, records):
        say(f"Removing {record}, which an interrupted run left behind.")
        cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{record}")


def _cleaner(cluster: Cluster, operation: Literal["create", "update"]) -> Callable[[pulumi.ResourceHookArgs], None]:
    """A hook that runs only in `up`, right before the operation on a release."""

    def clean(args: pulumi.ResourceHookArgs) -> None:
        inputs = cast("dict[str, Any]", args.new_inputs)
        name, namespace = str(inputs["name"]), str(inputs["namespace"])
        try:
            clear(cluster, name, namespace, operation, pulumi.log.info)
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise pulumi.RunError(
                f"Can't look at the Helm release {namespace}/{name}: {target.reason(error)}"
            ) from None

    return clean


def removed_subsets(old: Mapping[str, Any], new: Mapping[str, Any]) -> set[str]:
    """Return the names of the subsets that an update takes out of a DestinationRule.

    Args:
        old: The inputs of the DestinationRule so far.
        new: Its inputs from now on.
    """
    return _subsets(old) - _subsets(new)


def manager_of(fields: Iterable[Mapping[str, Any]]) -> str:
    """Return the field manager under which Pulumi's Kubernetes plugin changes an object.

    The plugin takes `pulumi-kubernetes` and a random suffix, one for each resource (its annotation
    `pulumi.com/patchFieldManager` aside). Applying under the same name leaves it nothing to conflict with.

    Args:
        fields: `metadata.managedFields` of the object.
    """
    names = [str(entry.get("manager", "")) for entry in fields]
    return next((name for name in names if name.startswith("pulumi-")), "pulumi-kubernetes")


def _routes(planned: Plan) -> list[dict[str, Any]]:
    return [dict(item) for item in planned.traffic.objects if item["kind"] == "VirtualService"]


def _route_mover(
    cluster: Cluster, routes: Mapping[str, dict[str, Any]], owner: str
) -> Callable[[pulumi.ResourceHookArgs], None]:
    """A hook that moves a route away from subsets before they go.

    Pulumi changes a DestinationRule before the VirtualService that names it. That is right for new subsets. For one
    that goes, the requests that are still sent to it would get 503 until the VirtualService follows. So its new form is
    applied first; Pulumi then finds nothing left to change in the cluster.
    """

    def move(args: pulumi.ResourceHookArgs) -> None:
        new = cast("dict[str, Any]", args.new_inputs or {})
        metadata = cast("dict[str, Any]", new["metadata"])
        route = routes.get(f"{metadata['namespace']}/{metadata['name']}")
        if route is None or not removed_subsets(cast("dict[str, Any]", args.old_inputs or {}), new):
            return
        item = kept(route)
        path = f"/apis/{item.api_version}/namespaces/{item.namespace}/{item.plural}/{item.name}"
        try:
            live = cluster.request("GET", path)
            fields = cast("list[dict[str, Any]]", live["metadata"].get("managedFields") or [])
            wanted = {**route, "metadata": ownership.marked(route["metadata"], owner)}
            cluster.apply(path, wanted, manager_of(fields))
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            if getattr(error, "status", None) == target.NOT_FOUND:
                return
            raise pulumi.RunError(
                f"Can't move the route {item.namespace}/{item.name} to its new versions: {target.reason(error)}"
            ) from None

    return move


def _subsets(rule: Mapping[str, Any]) -> set[str]:
    spec = cast("dict[str, Any]", rule.get("spec") or {})
    return {str(subset["name"]) for subset in cast("list[dict[str, Any]]", spec.get("subsets") or [])}
