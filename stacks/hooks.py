"""The transformation of the stack: the owner's annotation on every object, and hooks that run before an operation.

The components know nothing of it. Hooks are called by the engine, so they work with any plugin, and they never run in a
preview.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import pulumi

from components.helm import RELEASE_TYPE
from components.manifests import Manifest, ObjectRef, object_ref
from components.meshes import MERGERS, traffic_object
from components.traffic.component import with_helm_ownership
from stacks import delivery, ownership, transition
from stacks.cluster import Cluster, ClusterError
from stacks.ownership import Claims
from stacks.plan import Plan
from stacks.settings import Settings
from stacks.state import release_ref

DESTINATION_TYPES = frozenset(f"kubernetes:{api_version}:{kind}" for api_version, kind in MERGERS)
"""Pulumi's type tokens of the objects that offer several destinations."""


def transformation(
    settings: Settings, plan: Plan, claims: Claims, cluster: Cluster, owner: str
) -> pulumi.ResourceTransformation:
    """Annotate every object with its stack, keep secret values secret, and add the hooks."""
    release_hooks = pulumi.ResourceHookBinding(
        before_create=[pulumi.ResourceHook("clear-release-record", release_hook(cluster, "create"))],
        before_update=[pulumi.ResourceHook("clear-pending-release-record", release_hook(cluster, "update"))],
    )
    destination_hooks = pulumi.ResourceHookBinding(
        before_update=[pulumi.ResourceHook("routes-before-destinations", _route_hook(cluster, plan, claims, owner))]
    )
    prefix = f"{delivery.release_prefix(owner)}-"

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        props = dict(cast("dict[str, Any]", args.props))
        opts = args.opts
        if settings.retain:
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(retain_on_delete=True))
        if args.type_ == RELEASE_TYPE:
            is_traffic = props["name"].startswith(prefix)
            # Routes are never secret, and hidden values would hide what a preview changes.
            if settings.mesh in settings.secret and not is_traffic:
                props["values"] = pulumi.Output.secret(props["values"])
            if release_ref(props["name"], props["namespace"]) in claims.imports:
                # Its record is no remainder of an interrupted run, so it must not be deleted.
                imported = pulumi.ResourceOptions(import_=f"{props['namespace']}/{props['name']}")
                opts = pulumi.ResourceOptions.merge(opts, imported)
            else:
                opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=release_hooks))
            if is_traffic:
                opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=destination_hooks))
        elif args.type_.startswith("kubernetes:") and args.type_.endswith("Patch"):
            pass  # An object of somebody else does not get the annotation.
        elif "metadata" in props:
            props["metadata"] = ownership.with_owner(props["metadata"], owner)
            urn = claims.taken_over.get(_object_ref(args.type_, props["metadata"]))
            if urn is not None:
                # An import may have put it anywhere into the state. Without the alias, Pulumi would delete it there.
                opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(aliases=[urn]))
            if args.type_ in DESTINATION_TYPES:
                opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=destination_hooks))
        elif not settings.retain:
            return None
        return pulumi.ResourceTransformationResult(props, opts)

    return transform


def _object_ref(type_: str, metadata: Mapping[str, Any]) -> ObjectRef:
    """Return the object of a resource, whose type is kubernetes:GROUP/VERSION:KIND."""
    _, api_version, kind = type_.split(":")
    namespace = cast("str", metadata.get("namespace") or "")
    return ObjectRef(api_version.removeprefix("core/"), kind, str(metadata["name"]), namespace)


def delete_stale_records(
    cluster: Cluster, release: str, namespace: str, operation: Literal["create", "update"], log: Callable[[str], None]
) -> None:
    """Delete the records of a release that an interrupted run left behind (docs/decisions/0001-recovery.md)."""
    records = [item["metadata"] for item in cluster.objects("v1", "Secret", namespace, metadata_only=True)]
    for record in ownership.stale_records(release, operation, records):
        log(f"Removing {record}, which an interrupted run left behind.")
        cluster.delete(ObjectRef("v1", "Secret", record, namespace))


def release_hook(cluster: Cluster, operation: Literal["create", "update"]) -> Callable[[pulumi.ResourceHookArgs], None]:
    """Return a hook that runs only in `up`, right before the operation on a release."""

    def clean(args: pulumi.ResourceHookArgs) -> None:
        inputs = cast("dict[str, Any]", args.new_inputs)
        name, namespace = str(inputs["name"]), str(inputs["namespace"])
        try:
            delete_stale_records(cluster, name, namespace, operation, pulumi.log.info)
        except ClusterError as error:
            raise pulumi.RunError(f"Can't look at the Helm release {namespace}/{name}. {error.brief}") from None

    return clean


def manager_of(fields: Iterable[Mapping[str, Any]]) -> str:
    """Return the field manager under which Pulumi's Kubernetes plugin changes an object.

    The plugin takes `pulumi-kubernetes` and a random suffix, one for each resource (its annotation
    `pulumi.com/patchFieldManager` aside). Applying under the same name leaves it nothing to conflict with.

    Args:
        fields: `metadata.managedFields` of the object.
    """
    names = [str(entry.get("manager", "")) for entry in fields]
    return next((name for name in names if name.startswith("pulumi-")), "pulumi-kubernetes")


def objects_of(inputs: Mapping[str, Any] | None) -> list[Manifest]:
    """Return the objects that a resource delivers by its inputs: those of a release of routes, or itself."""
    if not inputs:
        return []
    if "chart" not in inputs:
        return [dict(inputs)]
    values = cast("Mapping[str, Any]", inputs.get("values") or {})
    return [json.loads(item) for item in values.get("objects", {}).values()]


def _route_hook(cluster: Cluster, plan: Plan, claims: Claims, owner: str) -> Callable[[pulumi.ResourceHookArgs], None]:
    """Return a hook that moves all routes away from destinations before the first of these goes.

    The program's event loop runs hooks one after the other, and every destination waits for the hook of its own.
    """
    done = False

    def move(args: pulumi.ResourceHookArgs) -> None:
        nonlocal done
        old, new = (map(traffic_object, objects_of(side)) for side in (args.old_inputs, args.new_inputs))
        if done or not transition.lost(old, new):
            return
        try:
            _move(cluster, plan, claims, owner)
        except ClusterError as error:
            raise pulumi.RunError(f"Can't move the routes to their new versions. {error.brief}") from None
        done = True

    return move


def _move(cluster: Cluster, plan: Plan, claims: Claims, owner: str) -> None:
    wanted = [{**item, "metadata": ownership.with_owner(item["metadata"], owner)} for item in plan.delivery.objects]
    if prefix := plan.delivery.release_prefix:
        wanted = [with_helm_ownership(item, prefix) for item in wanted]
    # This run may have installed the kinds since the cluster was looked at.
    cluster.forget_kinds()
    places = {(item.api_version, item.kind, item.namespace) for item in map(object_ref, wanted)}
    live: list[Manifest] = [
        {**item, "apiVersion": api_version, "kind": kind}
        for api_version, kind, namespace in sorted(places)
        for item in cluster.objects(api_version, kind, namespace)
        if ownership.owner_of(item["metadata"]) in {owner, *claims.former}
    ]
    steps = transition.transition(*([traffic_object(item) for item in side] for side in (wanted, live)))
    metadata_of: dict[ObjectRef, Manifest] = {object_ref(item): item["metadata"] for item in live}
    for item in (*steps.added, *steps.moved):
        metadata = metadata_of.get(object_ref(item))
        if metadata is None:
            cluster.create_unmanaged(item)
        else:
            cluster.apply(item, manager_of(metadata.get("managedFields") or []))
    for item in steps.removed:
        cluster.delete(item)
