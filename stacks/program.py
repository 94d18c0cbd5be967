"""The thin shell of the program: look at the cluster, register the plan, export. It decides nothing."""

import importlib.metadata
import os
from collections.abc import Callable
from typing import Any, Literal, cast

import pulumi
import urllib3
from kubernetes.client.exceptions import ApiException

from components.apps.bookinfo import Bookinfo, BookinfoArgs
from components.helm import RELEASE_TYPE
from components.istio import Istio, IstioArgs
from components.namespace import MeshNamespace
from components.routing import ConfigurationError, Diagnostic, errors, render
from components.traffic import Traffic
from stacks import charts, ownership, settings, target, versions
from stacks.outputs import outputs
from stacks.ownership import Kept
from stacks.plan import CHARTS, Plan, plan
from stacks.settings import ClusterSettings, RawConfig, Settings
from stacks.target import Cluster

MESHES: dict[str, Callable[[Plan, pulumi.ResourceOptions], pulumi.Resource]] = {
    "istio": lambda planned, opts: Istio("istio", cast("IstioArgs", planned.mesh.args), opts),
}
APPS: dict[str, Callable[[Any, pulumi.ResourceOptions], pulumi.Resource]] = {
    "bookinfo": lambda args, opts: Bookinfo("bookinfo", cast("BookinfoArgs", args), opts),
}


def run() -> None:
    """The whole program.

    Raises:
        ConfigurationError: The configuration or the cluster is refused, before the first resource.
    """
    owner = f"{pulumi.get_organization()}/{pulumi.get_project()}/{pulumi.get_stack()}"
    chosen, planned, cluster = prepare(settings.read_config(), pulumi.get_stack(), owner)
    pulumi.runtime.register_stack_transformation(_transformation(chosen, owner, cluster))
    deploy(planned, provider(chosen.cluster))
    for name, value in outputs(planned).items():
        pulumi.export(name, value)


def prepare(config: RawConfig, stack: str, owner: str) -> tuple[Settings, Plan, Cluster]:
    """Find every fault that can be found before the first resource.

    Raises:
        ConfigurationError: With all of them.
    """
    chosen, found = settings.load(config, stack)
    source, faults = charts.inspect(chosen.charts, CHARTS[chosen.mesh](chosen), chosen.istio.version)
    found += faults
    planned, said = plan(chosen, source)
    found += said
    kubeconfig, faults = target.kubeconfig(chosen.cluster, os.environ)
    found += faults
    cluster = None
    if kubeconfig:
        oldest = versions.kubernetes_minimum(planned.mesh.output["version"])
        cluster, faults = target.connect(kubeconfig, oldest)
        found += faults
    if cluster is not None and not errors(found):
        found += _conflicts(cluster, planned.objects(), owner)
    if errors(found) or cluster is None:
        raise ConfigurationError(found)
    if found:
        pulumi.log.warn(render(found))
    return chosen, planned, cluster


def deploy(planned: Plan, kubernetes: pulumi.ProviderResource) -> None:
    """Register the plan in its order: mesh, namespaces, applications, traffic."""

    def options(*after: pulumi.Resource) -> pulumi.ResourceOptions:
        return pulumi.ResourceOptions(providers=[kubernetes], depends_on=list(after))

    mesh = MESHES[planned.mesh.kind](planned, options())
    namespaces = {
        namespace["name"]: MeshNamespace(f"namespace-{namespace['name']}", namespace, options(mesh))
        for namespace in planned.namespaces
    }
    apps = [APPS[app.name](app.args, options(mesh, namespaces[app.namespace])) for app in planned.apps]
    if planned.traffic.objects:
        Traffic("traffic", {"objects": list(planned.traffic.objects)}, options(mesh, *namespaces.values(), *apps))


def provider(cluster: ClusterSettings) -> pulumi.ProviderResource:
    """The Kubernetes provider of the stack: its `kubernetes:*` keys, and upsert, which recovery needs.

    It is made without pulumi_kubernetes.Provider, which would write the path in KUBECONFIG into the state: every
    machine with another path would then see a change.
    """
    inputs = {"upsertExistingObjects": "true"} | cluster.provider
    return pulumi.ProviderResource(
        "kubernetes",
        "cluster",
        {key: pulumi.Output.secret(value) if key in cluster.secret else value for key, value in inputs.items()},
        pulumi.ResourceOptions(version=importlib.metadata.version("pulumi_kubernetes")),
    )


def _conflicts(cluster: Cluster, wanted: list[Kept], owner: str) -> list[Diagnostic]:
    there: dict[Kept, dict[str, Any]] = {}
    for api_version, plural, namespace in sorted({(i.api_version, i.plural, i.namespace) for i in wanted}):
        listed = {item["name"]: item for item in cluster.metadata(api_version, plural, namespace or None)}
        for item in wanted:
            if (item.api_version, item.plural, item.namespace) == (api_version, plural, namespace):
                metadata = listed.get(item.name)
                if metadata is not None:
                    there[item] = metadata
    return ownership.conflicts(wanted, there, owner)


def _transformation(chosen: Settings, owner: str, cluster: Cluster) -> pulumi.ResourceTransformation:
    """Mark every object with its stack, keep secret values secret, and clear what was left of interrupted releases."""
    hooks = pulumi.ResourceHookBinding(
        before_create=[pulumi.ResourceHook("clear-release-record", _cleaner(cluster, "create"))],
        before_update=[pulumi.ResourceHook("clear-pending-release-record", _cleaner(cluster, "update"))],
    )

    def transform(args: pulumi.ResourceTransformationArgs) -> pulumi.ResourceTransformationResult | None:
        props = dict(cast("dict[str, Any]", args.props))
        opts = args.opts
        if args.type_ == RELEASE_TYPE:
            if chosen.mesh in chosen.secret:
                props["values"] = pulumi.Output.secret(props["values"])
            opts = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(hooks=hooks))
        elif "metadata" in props:
            props["metadata"] = ownership.marked(props["metadata"], owner)
        else:
            return None
        return pulumi.ResourceTransformationResult(props, opts)

    return transform


def _cleaner(cluster: Cluster, operation: Literal["create", "update"]) -> Callable[[pulumi.ResourceHookArgs], None]:
    """A hook that runs only in `up`, right before the operation on a release."""

    def clean(args: pulumi.ResourceHookArgs) -> None:
        inputs = cast("dict[str, Any]", args.new_inputs)
        name, namespace = str(inputs["name"]), str(inputs["namespace"])
        try:
            records = cluster.metadata("v1", "secrets", namespace)
            for record in ownership.stale_records(name, operation, records):
                pulumi.log.info(f"Removing {record}, which an interrupted run left behind.")
                cluster.request("DELETE", f"/api/v1/namespaces/{namespace}/secrets/{record}")
        except (ApiException, urllib3.exceptions.HTTPError) as error:
            raise pulumi.RunError(
                f"Can't look at the Helm release {namespace}/{name}: {target.reason(error)}"
            ) from None

    return clean
