"""The objects of a plan's charts, as helm renders them. A chart that can't be rendered is a diagnostic."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, cast

import yaml

from components.diagnostics import Diagnostic
from components.helm import HelmRelease
from components.manifests import Manifest, part
from stacks.checking import Check

from .model import Rendered, Subject

SECONDS = 60
"""How long helm may take for a chart, which it may have to fetch."""
_LONGEST = 300
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def render(releases: Sequence[HelmRelease], version: str, environ: Mapping[str, str]) -> Rendered:
    """Render the charts of releases side by side.

    Args:
        releases: The releases, with all values that their charts need.
        version: The version of the API server.
        environ: The environment of helm.
    """
    helm = shutil.which("helm", path=environ.get("PATH"))
    if helm is None:
        names = ", ".join(release["name"] for release in releases)
        message = f"There is no helm command here, so the objects of {names} are not looked at."
        return Rendered({}, [Diagnostic("MSH760", "helm", None, message, severity="info")] if releases else [])
    with ThreadPoolExecutor(max(len(releases), 1)) as pool:
        made = list(pool.map(partial(_rendered, helm, version, environ), releases))
    objects = {release["name"]: found for release, found in zip(releases, made, strict=True) if isinstance(found, list)}
    return Rendered(objects, [fault for fault in made if isinstance(fault, Diagnostic)])


def _rendered(helm: str, version: str, environ: Mapping[str, str], release: HelmRelease) -> list[Manifest] | Diagnostic:
    argv = [helm, "template", release["name"], release["chart"], "--namespace", release["namespace"]]
    argv += ["--version", release["version"], "--include-crds", "--kube-version", version, "--values", "-"]
    if repository := release.get("repository"):
        argv += ["--repo", repository]
    # JSON is YAML.
    values = json.dumps(release["values"], default=str)
    try:
        done = subprocess.run(
            argv, input=values, capture_output=True, text=True, check=False, timeout=SECONDS, env=dict(environ)
        )
        reason = done.stderr if done.returncode else ""
        found = objects(yaml.load_all(done.stdout, _LOADER)) if not reason else []
    except subprocess.TimeoutExpired:
        found, reason = [], f"it takes longer than {SECONDS} s"
    except (OSError, yaml.YAMLError) as error:
        found, reason = [], str(error)
    if not reason:
        return found
    reason = " ".join(reason.removeprefix("Error: ").split())[:_LONGEST].rstrip(".")
    message = f"helm does not render the chart {release['chart'].rpartition('/')[2]}: {reason}."
    command = f"helm template {release['name']} {release['chart']} --namespace {release['namespace']}"
    return Diagnostic("MSH761", f"Release/{release['namespace']}/{release['name']}", None, message, command=command)


def objects(documents: Any) -> list[Manifest]:
    """Return the objects of YAML documents, those of lists one by one."""
    found: list[Manifest] = []
    for document in documents:
        if not isinstance(document, dict):
            continue
        item = cast("Manifest", document)
        found += objects(item["items"]) if str(item.get("kind", "")).endswith("List") and "items" in item else [item]
    return [item for item in found if item.get("apiVersion") and part(item, "metadata").get("name")]


def _run(subject: Subject) -> Sequence[Diagnostic]:
    return subject.rendered.diagnostics


CHARTS = Check("charts", "Helm renders the charts with the values of the plan", ("MSH760", "MSH761"), _run)
