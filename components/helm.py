"""What every mesh needs of Helm: where a chart comes from, values without surprises, a release that Pulumi waits for.

The facts behind the choices are those of the Pulumi Kubernetes provider 4.34:

* A Release without `name` gets a random suffix; Istio's CRDs, which stay after an uninstall, then belong to a release
  that no longer exists. So the name is always set.
* `name` and `namespace` replace the Release when they change, and cluster-scoped objects of the old and the new one
  would collide. So the old one is deleted first.
* A None in the values deletes the default of the chart. So there is none, unless a user writes one in `values`.
"""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict, cast

import pulumi
import pulumi_kubernetes as kubernetes

from .arguments import Arguments
from .scalars import FilePath, Repository

RELEASE_TYPE = "kubernetes:helm.sh/v3:Release"
"""Pulumi's type token of a Helm release."""
DEFAULT_TIMEOUT = 300
"""Seconds that a release may take to become ready, if nothing else is set."""


class ChartSource(Arguments):
    """Where the charts come from. Empty, they come from the project of the mesh."""

    exclusive = (("directory", "repository"),)

    directory: FilePath | None = None
    """A directory with one sub-directory per chart, such as `DIRECTORY/base`. The version is that of the charts. A
    relative path starts at the project."""
    repository: Repository | None = None
    """`https://HOST/PATH`, an HTTP chart repository, or `oci://HOST/PATH`, a registry."""


class HelmRelease(TypedDict):
    """One Helm release as plain data."""

    role: str
    """What it is for; the last part of the Pulumi resource name."""
    name: str
    """The name of the release in the cluster."""
    namespace: str
    """The namespace of the release. It is made by a Namespace resource, never by Helm."""
    chart: str
    """A chart name, a directory, or an OCI reference."""
    repository: NotRequired[str]
    """The HTTP repository of the chart, where it has one."""
    version: str
    """The exact version of the chart."""
    values: dict[str, Any]
    """The values, as the chart writes them."""
    timeout: int
    """Seconds that Helm waits for the objects of the release to be ready."""


def chart_location(source: ChartSource, default_repository: str, chart: str) -> dict[str, str]:
    """Return `chart` and, for an HTTP repository, `repository` of a HelmRelease."""
    if source.directory is not None:
        return {"chart": f"{source.directory.rstrip('/')}/{chart}"}
    repository = (source.repository or default_repository).rstrip("/")
    if repository.startswith("oci://"):
        return {"chart": f"{repository}/{chart}"}
    return {"chart": chart, "repository": repository}


def chart_release(
    chart: str, source: ChartSource, default_repository: str, *, version: str, namespace: str, values: dict[str, Any]
) -> HelmRelease:
    """Return the release of a chart of a mesh. Its name and role are the chart's, until the mesh says otherwise."""
    place = chart_location(source, default_repository, chart)
    release: HelmRelease = {
        "role": chart,
        "name": chart,
        "namespace": namespace,
        "chart": place["chart"],
        "version": version,
        "values": values,
        "timeout": DEFAULT_TIMEOUT,
    }
    if "repository" in place:
        release["repository"] = place["repository"]
    return release


def merged(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Merge values as Helm does: mappings key by key, anything else by the last layer that has it.

    The mappings of the result are its own. Anything else is that of the layer, which may be an Output.
    """
    result: dict[str, Any] = {}
    for layer in layers:
        for key, value in layer.items():
            if isinstance(value, Mapping):
                old = result.get(key)
                below: tuple[dict[str, Any], ...] = (cast("dict[str, Any]", old),) if isinstance(old, dict) else ()
                result[key] = merged(*below, cast("Mapping[str, Any]", value))
            else:
                result[key] = value
    return result


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Turn dotted paths into nested mappings: `{"global.hub": "x"}` is `{"global": {"hub": "x"}}`."""
    result: dict[str, Any] = {}
    for path, value in values.items():
        *parents, last = path.split(".")
        place = result
        for parent in parents:
            place = place.setdefault(parent, {})
        place[last] = value
    return result


KEPT_REVISIONS = 3
"""Of a release that is not awaited: each revision is a Secret of up to 1 MiB, and Pulumi's state is the history."""


def register(
    resource_name: str, release: HelmRelease, opts: pulumi.ResourceOptions, *, awaited: bool = True
) -> kubernetes.helm.v3.Release:
    """Register a release that is awaited and, when it must be replaced, deleted first.

    Args:
        resource_name: The Pulumi name.
        release: What to install. All of it is known before deployment: the provider looks at a chart's CRDs during
            preview only if no input of the release is an output of something else.
        opts: Options made fresh for this resource. It must depend on the Namespace of the release.
        awaited: False for a release of custom objects only: Helm has nothing to wait for, and would ask for each.
    """
    repository = release.get("repository")
    return kubernetes.helm.v3.Release(
        resource_name,
        name=release["name"],
        namespace=release["namespace"],
        chart=release["chart"],
        repository_opts={"repo": repository} if repository else None,
        version=release["version"],
        values=release["values"],
        timeout=release["timeout"],
        create_namespace=False,
        skip_await=not awaited,
        max_history=None if awaited else KEPT_REVISIONS,
        # Not atomic: a failed upgrade is kept, so that its pods and events can be looked at. The next `up` upgrades it
        # again, and new objects of a failed upgrade are taken away.
        cleanup_on_fail=True,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )
