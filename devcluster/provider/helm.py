"""What the provider does with a `kubernetes:helm.sh/v3:Release`: the helm command, run as a child."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import yaml

from devcluster.provider import diff as differences
from devcluster.provider import naming, objects, properties, release
from devcluster.provider.host import Log
from devcluster.provider.memory import MemoryFile
from devcluster.provider.objects import JsonObject
from devcluster.provider.resources import Checked, Difference, IncompleteError, Naming, Resource, ResourceError

_REPOSITORY = "repository"
_NAME_IN_USE = "cannot re-use a name that is still in use"


class HelmError(Exception):
    """helm ended with an error; the text is its own, without its prefixes."""


class Helm:
    """Runs helm against one cluster, as many at a time as the engine asks for operations."""

    def __init__(self, environment: Mapping[str, str | MemoryFile], cancelled: threading.Event) -> None:
        """Configure it.

        Args:
            environment: of the children; KUBECONFIG names the cluster. A file in memory stands for its path.
            cancelled: set when the engine asks to stop: running children are told to end.
        """
        self._environment = dict(environment)
        self._cancelled = cancelled
        self._running = set[subprocess.Popen[str]]()
        self._lock = threading.Lock()

    def run(self, arguments: Sequence[str], text: str = "", extra: Mapping[str, str | MemoryFile] | None = None) -> str:
        """Run helm and return what it printed.

        Args:
            arguments: without the command itself; nothing secret.
            text: for its standard input.
            extra: further environment variables.

        Raises:
            HelmError: it failed, or is not there.
        """
        environment = self._environment | dict(extra or {})
        try:
            process = subprocess.Popen(
                ["helm", *arguments],  # noqa: S607 - helm lives on PATH by contract
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env={name: str(value) for name, value in environment.items()},
                pass_fds=[value.descriptor for value in environment.values() if isinstance(value, MemoryFile)],
            )
        except OSError as error:
            raise HelmError("the helm command is not on PATH; install Helm 3 or put it there") from error
        with self._lock:
            self._running.add(process)
        if self._cancelled.is_set():
            process.terminate()
        try:
            printed, complaint = process.communicate(text)
        finally:
            with self._lock:
                self._running.discard(process)
        if process.returncode != 0:
            raise HelmError(explain(complaint))
        return printed

    def cancel(self) -> None:
        """Tell every running child to end: helm then records the release as failed."""
        with self._lock:
            for process in self._running:
                process.terminate()

    @property
    def busy(self) -> bool:
        """Whether a child is running."""
        with self._lock:
            return bool(self._running)


def explain(complaint: str) -> str:
    """Return helm's error without warnings and without what it puts before every error."""
    _, found, text = complaint.rpartition("Error: ")
    text = (text if found else complaint).strip()
    for prefix in ("INSTALLATION FAILED: ", "UPGRADE FAILED: "):
        text = text.removeprefix(prefix)
    return text or "helm failed without a word"


class ReleaseResources:
    """Check, Diff, Create, Read, Update and Delete of Helm releases."""

    def __init__(self, helm: Helm, namespace: str, unreachable: str) -> None:
        """Configure it.

        Args:
            helm: the command.
            namespace: where a release goes that names no namespace.
            unreachable: why the cluster can't be reached, empty where it can.
        """
        self._helm = helm
        self._namespace = namespace
        self._unreachable = unreachable

    def _require(self, what: str) -> None:
        if self._unreachable:
            raise ResourceError(f"can't {what} Helm Release with unreachable cluster: {self._unreachable}")

    def check(self, resource: Resource, olds: JsonObject, news: JsonObject, names: Naming) -> Checked:
        """Return the inputs as they will be used; the chart is looked up, so that a wrong one fails before anything."""
        inputs = release.with_defaults(news, self._namespace)
        if not inputs.get("name"):
            if names.mode == naming.DISABLE and not olds.get("name"):
                raise ResourceError("autonaming is disabled, name must be set")
            chosen = names.proposed or f"{objects.name_of_urn(resource.urn)}-{naming.suffix(names.seed)}"
            inputs["name"] = olds.get("name") or chosen
        if properties.contains_unknown(inputs):
            return Checked(inputs)
        plain = cast("JsonObject", properties.reveal(inputs))
        failures: list[tuple[str, str]] = []
        version = str(plain.get("version") or "")
        try:
            chart = self._chart(plain)
            version = str(chart.get("version") or version)
            if chart.get("type", "application") != "application":
                raise HelmError(f"{chart['type']} charts are not installable")  # noqa: TRY301 - one way to say it
        except HelmError as error:
            failures.append(("chart", f"{error}; check the chart name and repository configuration."))
        try:
            full = release.complete(plain, version)
        except release.ReleaseInputError as error:
            return Checked(inputs, [("valueYamlFiles", str(error))])
        given = dict(inputs)
        if properties.contains_secret(inputs.get("valueYamlFiles")):
            given["values"] = properties.Secret(plain.get("values"))
        return Checked(properties.mark_secrets(full, given), failures)

    def _chart(self, inputs: JsonObject) -> JsonObject:
        """Return the chart's Chart.yaml; raises HelmError if the chart is not found."""
        name = str(inputs.get("chart") or "").strip()
        options = objects.child(inputs, "repositoryOpts")
        if not options.get("repo") and not name.startswith("oci://"):
            path = Path(name)
            description = path / "Chart.yaml"
            if path.is_dir() and description.is_file():
                return _mapping(description.read_text(encoding="utf-8"), name)
            if not path.is_file() and (path.is_absolute() or name.startswith(".")):
                raise HelmError(f'path "{name}" not found')
        with self._chart_source(inputs) as (chart, environment):
            return _mapping(self._helm.run(["show", "chart", *chart], extra=environment), name)

    @contextlib.contextmanager
    def _chart_source(self, inputs: JsonObject) -> Generator[tuple[list[str], Mapping[str, str | MemoryFile]]]:
        """Give the arguments and variables that lead helm to the chart. A password is neither an argument nor a file.

        What helm itself would write on a login is given to it in memory.
        """
        if not objects.child(inputs, "repositoryOpts").get("password"):
            yield release.chart_arguments(inputs), {}
            return
        if release.is_oci(inputs):
            with MemoryFile(release.registry_login(inputs)) as login:
                yield release.chart_arguments(inputs), {"HELM_REGISTRY_CONFIG": login}
            return
        with (
            tempfile.TemporaryDirectory(prefix="helm-charts-") as folder,
            MemoryFile(release.repository_entry(inputs, _REPOSITORY)) as entry,
        ):
            environment = {"HELM_REPOSITORY_CONFIG": entry, "HELM_REPOSITORY_CACHE": folder}
            self._helm.run(["repo", "update", _REPOSITORY, "--fail-on-repo-update-fail"], extra=environment)
            yield release.chart_arguments(inputs, _REPOSITORY), environment

    def diff(self, state: JsonObject, news: JsonObject, ignored: Sequence[str]) -> Difference:
        """Return what the new inputs change; only name and namespace make it another release."""
        old_inputs, _ = release.parse_checkpoint(state)
        changes = differences.without_ignored(release.compare(old_inputs, news), ignored)
        return Difference(
            changes,
            replaces=[str(change) for change in changes if change.replace],
            top_level=sorted({str(change.path[0]) for change in changes}),
        )

    def create(self, inputs: JsonObject, log: Log, *, preview: bool) -> tuple[str, JsonObject]:
        """Install the release; returns id and state. A preview asks nothing of the cluster.

        Raises:
            ResourceError: nothing was installed.
            IncompleteError: helm recorded a release that failed.
        """
        plain = cast("JsonObject", properties.reveal(inputs))
        if preview:
            return "", release.checkpoint(release.as_inputs(plain), inputs)
        self._require("create")
        identity = f"{plain['namespace']}/{plain['name']}"
        try:
            with self._chart_source(plain) as (chart, environment):
                printed = self._helm.run(
                    release.install_arguments(plain, chart), release.values_text(plain), environment
                )
        except HelmError as error:
            found = None if _NAME_IN_USE in str(error) else self._lookup(plain)
            if found is None:
                raise ResourceError(str(error)) from error
            log.warn(
                f'Helm release "{plain["name"]}" was created but has a failed status. Use the `helm` command to '
                f"investigate the error, correct it, then retry. Reason: {error}"
            )
            state = release.checkpoint(release.applied(plain, found), inputs)
            raise IncompleteError(identity, state, [release.initial_failure(identity, str(error))], None) from error
        return identity, release.checkpoint(release.applied(plain, json.loads(printed)), inputs)

    def update(self, old_state: JsonObject, inputs: JsonObject, *, preview: bool) -> JsonObject:
        """Upgrade the release; returns its state.

        Raises:
            ResourceError: nothing was changed.
            IncompleteError: helm recorded a revision that failed.
        """
        plain = cast("JsonObject", properties.reveal(inputs))
        if preview:
            return release.checkpoint(release.as_inputs(plain), inputs)
        self._require("update")
        identity = f"{plain['namespace']}/{plain['name']}"
        _, old = release.parse_checkpoint(old_state)
        before = int(objects.child(old, "status").get("revision") or 0)
        try:
            with self._chart_source(plain) as (chart, environment):
                printed = self._helm.run(
                    release.upgrade_arguments(plain, chart), release.values_text(plain), environment
                )
        except HelmError as error:
            found = self._lookup(plain)
            if found is None or int(found.get("version") or 0) <= before:
                raise ResourceError(str(error)) from error
            state = release.checkpoint(release.applied(plain, found), inputs)
            raise IncompleteError(identity, state, [release.upgrade_failure(identity, str(error))], None) from error
        return release.checkpoint(release.applied(plain, json.loads(printed)), inputs)

    def _lookup(self, plain: Mapping[str, Any]) -> JsonObject | None:
        """Return helm's record of the release with the chart's metadata, None where there is no release."""
        name, where = str(plain["name"]), ["--namespace", str(plain["namespace"]), "--output", "json"]
        try:
            record = cast("JsonObject", json.loads(self._helm.run(["status", name, *where])))
            about = cast("JsonObject", json.loads(self._helm.run(["get", "metadata", name, *where])))
        except HelmError as error:
            if "not found" in str(error):
                return None
            raise ResourceError(str(error)) from error
        chart = {"name": about.get("chart"), "version": about.get("version"), "appVersion": about.get("appVersion")}
        return record | {"chart": {"metadata": chart}}

    def read(self, resource_id: str, state: JsonObject) -> tuple[str, JsonObject, JsonObject] | None:
        """Return id, state and inputs by helm's record alone; None where the release is gone.

        What happened to the release's objects is not looked at. Without state it is an import.
        """
        if self._unreachable:
            raise ResourceError(f"can't read Helm Release with unreachable cluster: {self._unreachable}")
        old_inputs, outputs = release.parse_checkpoint(state)
        if not outputs:
            namespace, name = objects.parse_identity(resource_id)
            outputs = {"name": name, "namespace": namespace or self._namespace}
        found = self._lookup(outputs)
        if found is None:
            return None
        if not old_inputs:
            chart = str(found["chart"]["metadata"]["name"])
            outputs = release.with_defaults(outputs | {"chart": chart}, self._namespace)
            outputs = release.complete(outputs, "")
        current = release.applied(outputs, found)
        live_inputs = release.as_inputs(current)
        marked = properties.mark_secrets(live_inputs, old_inputs)
        # The inputs of the record, not of the program: so what was changed by hand shows as a difference.
        new_state = release.checkpoint(current, marked)
        return resource_id or f"{outputs['namespace']}/{outputs['name']}", new_state, marked

    def delete(self, state: JsonObject, log: Log) -> None:
        """Uninstall the release; raises ResourceError where helm can't."""
        self._require("delete")
        _, plain = release.parse_checkpoint(state)
        try:
            printed = self._helm.run(release.uninstall_arguments(plain))
        except HelmError as error:
            raise ResourceError(str(error)) from error
        kept = "\n".join(line for line in printed.splitlines() if line and not line.startswith("release "))
        if kept:
            log.warn(f"Helm uninstall returned information: {json.dumps(kept)}")


def _mapping(text: str, name: str) -> JsonObject:
    try:
        loaded: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise HelmError(f"Chart.yaml of {name} is not YAML: {error}") from error
    if not isinstance(loaded, dict):
        raise HelmError(f"Chart.yaml of {name} is not a mapping")
    return cast("JsonObject", loaded)


def child_environment(settings: Mapping[str, str], kubeconfig: MemoryFile | None) -> dict[str, str | MemoryFile]:
    """Return the environment for helm: this process's own, with the provider's settings for helm in it.

    helm's own variables for the cluster and its user would lead it past the kubeconfig, which the official plugin does
    not let happen to a Release. The driver is a setting of the plugin there, and never HELM_DRIVER.
    """
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("HELM_KUBE") and name not in ("HELM_NAMESPACE", "HELM_DRIVER")
    }
    environment: dict[str, str | MemoryFile] = {"HELM_BURST_LIMIT": "120", "HELM_QPS": "50", **own, **settings}
    if kubeconfig is not None:
        return {**environment, "KUBECONFIG": kubeconfig}
    return environment
