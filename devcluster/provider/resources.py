"""What the provider does with a resource that is one Kubernetes object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from devcluster.provider import awaiting, diff, naming, objects, properties
from devcluster.provider.client import ApiError, Client, NoMatchError
from devcluster.provider.host import Log
from devcluster.provider.objects import JsonObject, Kind
from devcluster.provider.operations import ConflictError, Operations, PartialError
from devcluster.provider.settings import Settings

ALREADY_EXISTS_HINT = """
An object of this kind and name is in the cluster, and this resource did not make it. Ways on:

  - another resource of this program owned it (it was renamed): give the new one an alias of the old,
    or set delete_before_replace;
  - it is to become this program's: `pulumi import` it;
  - it is somebody else's and only some fields matter: use the kind's Patch resource;
  - it is always to be taken over: set `kubernetes:upsertExistingObjects` to true."""


class ResourceError(Exception):
    """The operation failed and left nothing to record; the text is for the user."""


class IncompleteError(Exception):
    """The object exists and must be recorded in the state, but the operation failed or was interrupted.

    Attributes:
        id: the resource's id.
        state: what state records.
        inputs: the resource's inputs, None where they stay as they are.
        reasons: what is wrong, the first the whole story in short.
    """

    def __init__(self, resource_id: str, state: JsonObject, reasons: Sequence[str], inputs: JsonObject | None) -> None:
        self.id = resource_id
        self.state = state
        self.inputs = inputs
        self.reasons = tuple(reasons)
        super().__init__(reasons[0])


@dataclass(frozen=True, slots=True)
class Checked:
    """The answer to Check: the inputs as they will be used, and what is wrong with them (property, reason)."""

    inputs: JsonObject
    failures: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Difference:
    """The answer to Diff."""

    changes: Sequence[diff.PropertyChange] = ()
    delete_before_replace: bool = False
    replaces: Sequence[str] = ()
    top_level: Sequence[str] = field(default_factory=list[str])


@dataclass(frozen=True, slots=True)
class Naming:
    """How the engine wants an unnamed resource to be named."""

    seed: bytes = b""
    proposed: str | None = None
    mode: int = naming.PROPOSE


@dataclass(frozen=True, slots=True)
class Resource:
    """Which resource of the program an operation is about."""

    urn: str
    timeout: float = 0.0
    """Seconds, 0 where the program sets none."""

    @property
    def token(self) -> str:
        """The type token."""
        return objects.type_of_urn(self.urn)

    @property
    def kind(self) -> Kind:
        """The kind that the token names."""
        return objects.kind_of_type(self.token)


class KubernetesResources:
    """Check, Diff, Create, Read, Update and Delete of Kubernetes objects."""

    def __init__(self, settings: Settings, namespace: str, operations: Operations | None, unreachable: str) -> None:
        """Make it.

        Args:
            settings: the provider's settings.
            namespace: where an object goes that names no namespace.
            operations: None where the cluster can't be reached.
            unreachable: why.
        """
        self._settings = settings
        self._namespace = namespace
        self._operations = operations
        self._unreachable = unreachable

    @property
    def _client(self) -> Client | None:
        return self._operations.client if self._operations else None

    def _require(self) -> Operations:
        if self._operations is None:
            raise ResourceError(f"configured Kubernetes cluster is unreachable: {self._unreachable}")
        return self._operations

    def _namespaced(self, kind: Kind) -> bool:
        """Say whether a kind lives in namespaces; of one that is not known (yet), that is assumed."""
        resource = self._client.resource_if_known(kind) if self._client else None
        return resource.namespaced if resource else True

    def _normalise(self, obj: Mapping[str, Any]) -> JsonObject:
        kind = objects.kind_of(obj)
        schema = self._client.schema(kind) if self._client and kind.built_in else None
        return objects.normalise(obj, schema)

    def check(self, resource: Resource, olds: JsonObject, news: JsonObject, names: Naming, log: Log) -> Checked:
        """Return the inputs as they will be used: named, in the right namespace, in normal form."""
        if self._operations is None and self._settings.skip_update_unreachable:
            log.warn("Cluster is unreachable but skipUpdateUnreachable flag is set to true, skipping...")
            return Checked(olds)
        if objects.is_list(resource.token):
            raise ResourceError(
                "list resources exist for compatibility with YAML manifests and Helm charts, and can't be created; "
                "declare the objects of the list"
            )
        inputs = objects.plain(news)
        patch = objects.is_patch(resource.token, inputs)
        if patch and not self._settings.server_side_apply:
            raise ResourceError(
                "patch resources require Server-Side Apply mode, which the Provider config `enableServerSideApply` sets"
            )
        inputs = self._normalise(inputs)
        if patch and not objects.metadata(inputs).get("name"):
            raise ResourceError("patch resources require the `.metadata.name` field to be set")
        try:
            if olds:
                inputs = naming.adopt_name(inputs, objects.plain(olds))
            if not olds or not (objects.metadata(inputs).get("name") or objects.metadata(inputs).get("generateName")):
                resource_name = objects.name_of_urn(resource.urn)
                inputs = naming.assign_name(inputs, resource_name, names.seed, names.proposed, names.mode)
        except naming.NamingError as error:
            raise ResourceError(str(error)) from error
        if self._settings.server_side_apply and objects.metadata(inputs).get("generateName"):
            raise ResourceError("the `.metadata.generateName` field is not supported in Server-Side Apply mode")
        kind = objects.kind_of(inputs) if inputs.get("kind") else resource.kind
        known_metadata = not isinstance(inputs.get("metadata"), str)
        if known_metadata and not objects.metadata(inputs).get("namespace") and self._namespaced(kind):
            inputs = objects.with_metadata(inputs, namespace=self._namespace)
        try:
            awaiting.rule_for(inputs, objects.kind_of(inputs))
        except awaiting.WaitForError as error:
            return Checked(properties.mark_secrets(inputs, news), [("metadata", str(error))])
        return Checked(properties.mark_secrets(inputs, news))

    def diff(self, resource: Resource, state: JsonObject, news: JsonObject, ignored: Sequence[str]) -> Difference:
        """Return what the new inputs change.

        They are compared with the live object as state has it, of which only what the old inputs named counts. So a
        refresh that found a change made by others leads to an update.
        """
        old_inputs, old_live = objects.parse_checkpoint(state)
        new = self._normalise(objects.plain(news))
        kind = objects.kind_of(new)
        live_meta = objects.metadata(old_live)
        old = cast("JsonObject", objects.prune(old_live, self._normalise(old_inputs)))
        if self._namespaced(kind):
            old = objects.with_metadata(old, namespace=live_meta.get("namespace") or "default")
            new = objects.with_metadata(new, namespace=objects.metadata(new).get("namespace") or "default")
        else:
            old, new = objects.with_metadata(old, namespace=""), objects.with_metadata(new, namespace="")
        old.setdefault("apiVersion", new.get("apiVersion"))
        old.setdefault("kind", new.get("kind"))
        if objects.metadata(new).get("name"):
            old = objects.with_metadata(old, name=live_meta.get("name"))
        patch = objects.is_patch(resource.token, new)
        fields = diff.force_new(kind, new, self._settings.mutability, patch=patch)
        changes = diff.without_ignored(diff.mark_replacements(diff.compare(old, new), new, fields), ignored)
        new_meta = objects.metadata(new)
        must_replace = any(change.replace for change in changes)
        same_place = new_meta.get("name") == live_meta.get("name") and (
            new_meta.get("namespace", "") == live_meta.get("namespace", "")
        )
        return Difference(
            changes,
            delete_before_replace=must_replace and same_place and not naming.is_autonamed(new),
            replaces=[str(change) for change in changes if change.replace],
        )

    def _field_manager(self, state: Mapping[str, Any], inputs: JsonObject) -> str:
        if not self._settings.server_side_apply:
            return "pulumi-kubernetes"
        chosen = objects.annotation(inputs, objects.PATCH_FIELD_MANAGER)
        return chosen or str(state.get(objects.FIELD_MANAGER_KEY) or f"pulumi-kubernetes-{naming.suffix(b'')}")

    def _force(self, inputs: JsonObject) -> bool:
        return self._settings.patch_force or objects.annotation(inputs, objects.PATCH_FORCE) == "true"

    def _known(self, inputs: JsonObject) -> bool:
        client = self._client
        return client is not None and client.resource_if_known(objects.kind_of(inputs)) is not None

    def create(self, resource: Resource, given: JsonObject, log: Log, *, preview: bool) -> tuple[str, JsonObject]:
        """Create the object; returns id and state. A preview asks the server where it can.

        Raises:
            ResourceError: it was not created.
            IncompleteError: it was created and did not become ready.
        """
        inputs = objects.plain(given)
        patch = objects.is_patch(resource.token, inputs)
        if preview and (properties.contains_unknown(inputs) or patch or not self._known(inputs)):
            return "", given
        operations = self._require()
        manager = self._field_manager({}, inputs)
        upsert = patch or (self._settings.upsert_existing_objects and self._settings.server_side_apply)
        api_version = str(inputs.get("apiVersion", ""))

        def state_of(live: JsonObject) -> JsonObject:
            return objects.checkpoint(inputs, live, given, api_version, manager)

        try:
            live = operations.create(
                inputs,
                manager,
                log,
                timeout=resource.timeout,
                upsert=upsert,
                # Nothing is taken away by a dry run, and what is to be replaced may still be there.
                force=self._force(inputs) or preview,
                preview=preview,
            )
        except NoMatchError as error:
            kind = resource.kind
            raise ResourceError(
                f'creation of resource "{resource.urn}" with kind {kind.api_version}/{kind.kind} failed because the '
                "Kubernetes API server reported that the apiVersion for this resource does not exist. Verify that any "
                f"required CRDs have been created: {error}"
            ) from error
        except (ApiError, ConflictError) as error:
            if preview and isinstance(error, ApiError) and _preview_can_go_on(error):
                return "", given
            hint = f"\n{ALREADY_EXISTS_HINT}" if isinstance(error, ApiError) and error.already_exists else ""
            raise ResourceError(
                f'resource "{resource.urn}" was not successfully created by the Kubernetes API server: {error}{hint}'
            ) from error
        except PartialError as error:
            summary = (
                f'resource "{resource.urn}" was successfully created, but the Kubernetes API server reported that it '
                f"failed to fully initialize or become live: {error}"
            )
            reasons = [summary, *error.errors]
            raise IncompleteError(objects.identity(error.obj), state_of(error.obj), reasons, None) from error
        if preview:
            # A status before there is one would mislead programs that read it.
            live = {key: value for key, value in live.items() if key != "status"}
            return "", state_of(live)
        return objects.identity(live), state_of(live)

    def update(
        self,
        resource: Resource,
        old_state: JsonObject,
        given: JsonObject,
        ignored: Sequence[str],
        log: Log,
        *,
        preview: bool,
    ) -> JsonObject:
        """Change the object; returns its state.

        Raises:
            ResourceError: its kind or the object itself is gone.
            IncompleteError: it was refused, or changed and did not become ready.
        """
        inputs = self._normalise(objects.plain(given))
        if preview and (properties.contains_unknown(inputs) or not self._known(inputs)):
            return given
        operations = self._require()
        old_inputs, old_live = objects.parse_checkpoint(old_state)
        manager = self._field_manager(old_state, inputs)
        old_manager = self._field_manager(old_state, old_inputs)
        api_version = str(old_state.get(objects.INITIAL_API_VERSION_KEY) or inputs.get("apiVersion", ""))
        try:
            live = operations.update(
                inputs,
                old_live,
                manager,
                log,
                timeout=resource.timeout,
                force=self._force(inputs),
                patch=objects.is_patch(resource.token, inputs),
                ignored=ignored,
                preview=preview,
            )
        except NoMatchError as error:
            raise ResourceError(
                f'update of resource "{resource.urn}" failed because the Kubernetes API server reported that the '
                "apiVersion for this resource does not exist. Verify that any required CRDs have been created: "
                f"{error}"
            ) from error
        except (ApiError, ConflictError, PartialError) as error:
            if preview and isinstance(error, ApiError) and error.forbidden:
                return given
            meta = objects.metadata(old_live)
            found = operations.read(objects.kind_of(old_live), str(meta.get("namespace") or ""), str(meta["name"]))
            if found is None:
                raise ResourceError(f'update of resource "{resource.urn}" failed: {error}') from error
            identity = objects.identity(found)
            summary = (
                f'the Kubernetes API server reported that "{identity}" failed to fully initialize or become live: '
                f"{error}"
            )
            reasons = [summary, *(error.errors if isinstance(error, PartialError) else ())]
            state = objects.checkpoint(inputs, found, given, api_version, manager)
            raise IncompleteError(identity, state, reasons, None) from error
        if not preview and old_manager != manager and self._settings.server_side_apply:
            operations.relinquish(live, old_manager)
        return objects.checkpoint(inputs, live, given, api_version, manager)

    def read(
        self, resource: Resource, resource_id: str, state: JsonObject, given: JsonObject, log: Log
    ) -> tuple[str, JsonObject, JsonObject] | None:
        """Return id, state and inputs of an object as it is now; None where it is gone.

        Without inputs it is an import: they are made up from the live object.

        Raises:
            ResourceError: the cluster can't be reached.
            IncompleteError: it is there and not ready.
        """
        if self._operations is None:
            return self._read_unreachable(resource_id, state, given, log)
        operations = self._operations
        namespace, name = objects.parse_identity(resource_id)
        inputs = self._normalise(objects.plain(given))
        imported = not inputs.get("kind")
        _, old_live = objects.parse_checkpoint(state)
        kind = objects.kind_of(old_live if imported else inputs)
        kind = kind if kind.kind else resource.kind
        if imported and kind.kind.endswith("Patch"):
            kind = Kind(kind.group, kind.version, kind.kind.removesuffix("Patch"))
        live = operations.read(kind, namespace, name)
        if live is None:
            return None
        if imported:
            schema = self._client.schema(kind) if self._client and kind.built_in else None
            new_inputs = objects.inputs_from_live(live, schema.top_level() if schema else frozenset())
        else:
            new_inputs = cast("JsonObject", objects.prune(live, inputs))
        api_version = str(state.get(objects.INITIAL_API_VERSION_KEY) or live.get("apiVersion", ""))
        manager = self._field_manager(state, new_inputs)
        new_state = objects.checkpoint(new_inputs, live, given, api_version, manager)
        marked = properties.mark_secrets(new_inputs, given)
        try:
            if not imported:
                operations.judge(inputs, live, log)
        except PartialError as error:
            raise IncompleteError(resource_id, new_state, [str(error), *error.errors], marked) from error
        return resource_id or objects.identity(live), new_state, marked

    def _read_unreachable(
        self, resource_id: str, state: JsonObject, given: JsonObject, log: Log
    ) -> tuple[str, JsonObject, JsonObject] | None:
        log.warn(f"configured Kubernetes cluster is unreachable: {self._unreachable}")
        if self._settings.delete_unreachable:
            return None
        if self._settings.skip_update_unreachable:
            return resource_id, state, given
        raise ResourceError(
            "failed to read resource state due to unreachable cluster. If the cluster was deleted, you can remove this "
            "resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE environment "
            'variable set to "true"'
        )

    def delete(self, resource: Resource, resource_id: str, state: JsonObject, log: Log) -> None:
        """Delete the object and wait until it is gone; a Patch resource only gives up its fields.

        Raises:
            ResourceError: it was refused, or the cluster can't be reached.
            IncompleteError: it was still there when the time was up.
        """
        if self._operations is None:
            log.warn(f"configured Kubernetes cluster is unreachable: {self._unreachable}")
            if self._settings.delete_unreachable:
                return
            raise ResourceError(
                "configured Kubernetes cluster is unreachable. If the cluster was deleted, you can remove this "
                "resource from Pulumi state by rerunning the operation with the PULUMI_K8S_DELETE_UNREACHABLE "
                'environment variable set to "true"'
            )
        operations = self._operations
        inputs, live = objects.parse_checkpoint(state)
        manager = self._field_manager(state, inputs)
        try:
            if objects.is_patch(resource.token, live):
                operations.relinquish(live, manager)
                return
            try:
                operations.delete(live, inputs, log, timeout=resource.timeout)
            except ApiError as error:
                if not error.forbidden:
                    raise
                # Such as kube-system: it can't go, so it is left with only what others set.
                log.warn(f"{error}; the object is left in place, without what this resource set")
                operations.relinquish(live, manager)
        except NoMatchError:
            return
        except ApiError as error:
            raise ResourceError(str(error)) from error
        except PartialError as error:
            api_version = str(state.get(objects.INITIAL_API_VERSION_KEY, ""))
            checkpoint = objects.checkpoint(inputs, error.obj, state, api_version, manager)
            raise IncompleteError(resource_id, checkpoint, [str(error), *error.errors], None) from error


def _preview_can_go_on(error: ApiError) -> bool:
    return error.forbidden or error.already_exists or error.namespace_not_found or error.immutable_field
