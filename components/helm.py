"""Helm for every mesh: chart source, chart values, and a release that Pulumi waits for.

The facts behind the choices are those of the Pulumi Kubernetes provider 4.34:

* A Release without `name` gets a random suffix; Istio's CRDs, which stay after an uninstall, then belong to a release
  that no longer exists. So the name is always set.
* `name` and `namespace` replace the Release when they change, and cluster-scoped objects of the old and the new one
  would collide. So the old one is deleted first.
* A null in the values deletes the chart's default. So values hold none, unless a user sets one in `values`.
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

    exclusive = (("directory", "repository", "Charts come from one place."),)

    directory: FilePath | None = None
    """A directory with one sub-directory per chart, such as `DIRECTORY/base`. The version is that of the charts. A
    relative path starts at the project."""
    repository: Repository | None = None
    """`https://HOST/PATH`, an HTTP chart repository, or `oci://HOST/PATH`, a registry."""


class HelmRelease(TypedDict):
    """One Helm release as plain data."""

    role: str
    """Role of the release; the last part of the Pulumi resource name."""
    name: str
    """The name of the release in the cluster."""
    namespace: str
    """The namespace of the release. A Namespace resource creates it, never Helm."""
    chart: str
    """A chart name, a directory, or an OCI reference."""
    repository: NotRequired[str]
    """The HTTP repository of the chart, where it has one."""
    version: str
    """The exact version of the chart."""
    values: dict[str, Any]
    """The chart values."""
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
    """Return the release of a mesh's chart. Name and role default to the chart's name."""
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
    """Merge values as Helm does: mappings key by key, anything else from the last layer that sets it.

    Mappings are copied. Anything else is shared with the layer and may be an Output.
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
"""History limit of a release that is not awaited: a revision is a Secret of up to 1 MiB, and Pulumi has the history."""


def register(
    resource_name: str, release: HelmRelease, opts: pulumi.ResourceOptions, *, awaited: bool = True
) -> kubernetes.helm.v3.Release:
    """Register a release; a replacement deletes the old one first.

    Args:
        resource_name: The Pulumi name.
        release: What to install. All inputs are known before deployment: the provider reads a chart's CRDs during
            preview only if no input of the release is an unknown output.
        opts: Options of this resource only; they must depend on the Namespace of the release.
        awaited: False for a release of custom resources only, which Helm would query in vain.
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
        # Not atomic: a failed upgrade stays, so that its pods and events can be inspected. The next `up` upgrades it
        # again; new objects of a failed upgrade are removed.
        cleanup_on_fail=True,
        opts=pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(delete_before_replace=True)),
    )
