"""Creating, changing, reading and deleting objects, and waiting for them."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from devcluster.provider import awaiting, fields, objects
from devcluster.provider.awaiting import Snapshot, Verdict
from devcluster.provider.client import ApiError, Client, NoMatchError
from devcluster.provider.host import Log
from devcluster.provider.objects import JsonObject

_CRD_KIND = "CustomResourceDefinition"
_RETRIES = 6  # With the waits doubling from 1 s: about a minute for a kind or namespace to appear.
_DELETE_TIMEOUT = 600.0
_POLL_FIRST, _POLL_MOST = 0.1, 1.0
_CONFLICT_TRIES = 5


class PartialError(Exception):
    """The object exists, but the operation failed or was interrupted.

    Attributes:
        obj: the object as last seen.
        errors: what is wrong, one line each.
    """

    def __init__(self, message: str, obj: JsonObject, errors: Sequence[str] = ()) -> None:
        self.obj = obj
        self.errors = tuple(errors)
        super().__init__(message)


class ConflictError(Exception):
    """Another field manager owns what was to be applied."""


@dataclass(frozen=True, slots=True)
class Operations:
    """Operations on one cluster.

    Attributes:
        client: the connection.
        cancelled: set when the engine asks to stop: every wait ends.
    """

    client: Client
    cancelled: threading.Event

    def create(
        self, obj: JsonObject, manager: str, log: Log, *, timeout: float, upsert: bool, force: bool, preview: bool
    ) -> JsonObject:
        """Create an object and wait until it is ready; returns it as the server has it.

        Args:
            obj: the object.
            manager: the field manager.
            log: where to report.
            timeout: seconds to wait, 0 for the kind's own.
            upsert: apply instead of create, so that an object that exists is changed.
            force: take fields over from other managers.
            preview: ask the server only what would come of it.

        Raises:
            ApiError: the server refused it.
            NoMatchError: the kind did not appear within a minute.
            PartialError: it was created and did not become ready.
        """
        for attempt in range(_RETRIES + 1):
            try:
                if upsert:
                    live = self.apply(obj, manager, force=force, preview=preview)
                else:
                    live = self.client.create(obj, manager, dry_run=preview)
                break
            except (ApiError, NoMatchError) as error:
                missing = isinstance(error, NoMatchError) or error.not_found
                if preview and isinstance(error, ApiError) and error.namespace_not_found:
                    raise
                if attempt < _RETRIES:
                    log.status(f"Retry #{attempt}; creation failed: {error}")
                if not missing or attempt == _RETRIES:
                    raise
                if self.cancelled.wait(2**attempt):
                    raise
        else:
            message = "unreachable: the loop ends by break or raise"
            raise AssertionError(message)
        log.status("")
        return live if preview else self.wait(obj, live, None, log, timeout)

    def apply(self, obj: JsonObject, manager: str, *, force: bool, preview: bool) -> JsonObject:
        """Apply an object by server-side apply; raises ConflictError with what to do, or ApiError."""
        try:
            return self.client.apply(obj, manager, force=force, dry_run=preview)
        except ApiError as error:
            if not error.conflict:
                raise
            message = (
                "server-side apply field conflict detected; leave the field to its owner, or take it over with the "
                f"annotation {objects.PATCH_FORCE}\n"
                f'The resource managed by field manager "{manager}" had an apply conflict: {error}'
            )
            raise ConflictError(message) from error

    def update(
        self,
        obj: JsonObject,
        old: JsonObject,
        manager: str,
        log: Log,
        *,
        timeout: float,
        force: bool,
        patch: bool,
        ignored: Sequence[str],
        preview: bool,
    ) -> JsonObject:
        """Change an object and wait until it is ready again; returns it as the server has it.

        Args:
            obj: the new inputs.
            old: the object as state has it; names what to change.
            manager: the field manager.
            log: where to report.
            timeout: seconds to wait, 0 for the kind's own.
            force: take fields over from other managers.
            patch: the resource patches an object that it does not own.
            ignored: paths of `ignoreChanges`.
            preview: ask the server only what would come of it.

        Raises:
            ApiError, NoMatchError, ConflictError: the server refused it.
            PartialError: it was changed and did not become ready.
        """
        kind = objects.kind_of(obj)
        old_meta = objects.metadata(old)
        last = self.client.get(kind, str(old_meta.get("namespace") or ""), str(old_meta["name"]))
        if kind.kind == _CRD_KIND:
            # Apply would keep versions and fields that the program has dropped.
            replacement = objects.with_metadata(obj, resourceVersion=objects.metadata(last)["resourceVersion"])
            live = self.client.replace(replacement, manager, dry_run=preview)
        else:
            if not preview and not patch:
                last = self._take_over(last, manager)
            wanted = fields.keep_ignored(obj, last, manager, ignored)
            # A preview can't take fields over first, so a manager that a real update would replace must not stop it.
            forced = force or (preview and fields.take_over(last, manager) is not None)
            live = self.apply(wanted, manager, force=forced, preview=preview)
        return live if preview else self.wait(obj, live, last, log, timeout)

    def _take_over(self, live: JsonObject, manager: str) -> JsonObject:
        for attempt in range(_CONFLICT_TRIES):
            managed = fields.take_over(live, manager)
            if managed is None:
                return live
            version = objects.metadata(live)["resourceVersion"]
            steps: list[JsonObject] = [
                {"op": "replace", "path": "/metadata/managedFields", "value": managed},
                {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
            ]
            try:
                return self.client.patch(live, steps, manager, form="json")
            except ApiError as error:
                # A controller wrote in between.
                if not error.conflict or attempt == _CONFLICT_TRIES - 1:
                    raise
            meta = objects.metadata(live)
            live = self.client.get(objects.kind_of(live), str(meta.get("namespace") or ""), str(meta["name"]))
        return live

    def wait(
        self, inputs: JsonObject, live: JsonObject, last: JsonObject | None, log: Log, timeout: float
    ) -> JsonObject:
        """Wait until an object is ready; returns it as last seen; raises PartialError if it does not become ready."""
        kind = objects.kind_of(live)
        rule = awaiting.rule_for(inputs, kind)
        if rule is None:
            return live
        name = str(objects.metadata(live)["name"])
        deadline = time.monotonic() + awaiting.timeout_seconds(inputs, timeout, rule.timeout)
        pause = _POLL_FIRST
        related_since = time.monotonic()
        related_versions: list[str] = []
        fresh = False  # What create and apply return is older than anything a controller did.
        while True:
            related = {k: self._related(live, k) for k in rule.related}
            versions = sorted(_version(o) for group in related.values() for o in group)
            now = time.monotonic()
            if versions != related_versions:
                related_versions, related_since = versions, now
            settled = now - related_since >= rule.settle
            verdict = rule.decide(Snapshot(live, last, related, settled=settled))
            _show(verdict, log)
            if verdict.ready and (fresh or not rule.related):
                log.status("")
                return live
            if verdict.failed:
                message = f"Resource '{name}' was created but failed to initialize"
                raise PartialError(message, live, verdict.errors)
            if now >= deadline:
                message = f"'{name}' timed out waiting to be Ready"
                raise PartialError(message, live, verdict.errors)
            if self.cancelled.wait(min(pause, max(0.0, deadline - now))):
                message = f"Resource operation was cancelled for {name!r}"
                raise PartialError(message, live, verdict.errors)
            pause = min(_POLL_MOST, pause * 1.5)
            live = self._refreshed(live)
            fresh = True

    def _related(self, live: JsonObject, kind: objects.Kind) -> list[JsonObject]:
        resource = self.client.resource(kind)
        namespace = str(objects.metadata(live).get("namespace") or "") if resource.namespaced else ""
        return self.client.list(kind, namespace)

    def _refreshed(self, live: JsonObject) -> JsonObject:
        meta = objects.metadata(live)
        return self.client.get(objects.kind_of(live), str(meta.get("namespace") or ""), str(meta["name"]))

    def read(self, kind: objects.Kind, namespace: str, name: str) -> JsonObject | None:
        """Return an object, None where it or its kind is gone."""
        resource = self.client.resource_if_known(kind)
        if resource is None:
            return None
        scope = (namespace or "default") if resource.namespaced else ""
        try:
            return self.client.get(kind, scope, name)
        except ApiError as error:
            if error.not_found:
                return None
            raise

    def judge(self, inputs: JsonObject, live: JsonObject, log: Log) -> None:
        """Raise PartialError where an object that was read is not ready now."""
        rule = awaiting.rule_for(inputs, objects.kind_of(live))
        if rule is None or not rule.on_read:
            return
        related = {k: self._related(live, k) for k in rule.related}
        verdict = rule.decide(Snapshot(live, live, related))
        _show(verdict, log)
        if not verdict.ready:
            message = f"Resource '{objects.metadata(live)['name']}' was created but failed to initialize"
            raise PartialError(message, live, verdict.errors)
        log.status("")

    def delete(self, obj: JsonObject, inputs: JsonObject, log: Log, *, timeout: float) -> None:
        """Delete an object and wait until it is gone.

        Raises:
            ApiError: the server refused.
            PartialError: it was still there when the time was up.
        """
        if self.client.resource_if_known(objects.kind_of(obj)) is None:
            return  # With its CustomResourceDefinition, the object went too.
        propagation = objects.annotation(inputs, objects.DELETION_PROPAGATION).capitalize() or "Foreground"
        uid = ""
        try:
            uid = str(objects.metadata(self._refreshed(obj)).get("uid", ""))
            self.client.delete(obj, propagation)
        except ApiError as error:
            if error.not_found:
                return
            raise
        if objects.annotation(inputs, objects.SKIP_AWAIT) == "true":
            return
        deadline = time.monotonic() + awaiting.timeout_seconds(inputs, timeout, _DELETE_TIMEOUT)
        pause = _POLL_FIRST
        while True:
            try:
                live = self._refreshed(obj)
            except ApiError as error:
                if error.not_found:
                    break
                raise
            if objects.metadata(live).get("uid") != uid:
                break  # Somebody made a new one of the same name.
            if pause > _POLL_FIRST:  # Most objects are gone before anybody could read it.
                log.status(awaiting.deletion_message(live))
            if time.monotonic() >= deadline:
                raise _still_there(live, log)
            if self.cancelled.wait(pause):
                message = f"Resource operation was cancelled for '{objects.metadata(live)['name']}'"
                raise PartialError(message, live)
            pause = min(_POLL_MOST, pause * 1.5)
        log.status("")

    def relinquish(self, obj: JsonObject, manager: str) -> None:
        """Give up every field that `manager` applies, and leave the object."""
        meta = objects.metadata(obj)
        bare: JsonObject = {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {k: meta[k] for k in ("name", "namespace") if meta.get(k)},
        }
        try:
            self.client.get(objects.kind_of(obj), str(meta.get("namespace") or ""), str(meta["name"]))
            self.client.apply(bare, manager, force=False, dry_run=False)
        except ApiError as error:
            if not error.not_found:
                raise


def _version(obj: JsonObject) -> str:
    meta = objects.metadata(obj)
    return f"{meta.get('uid')}/{meta.get('resourceVersion')}"


def _show(verdict: Verdict, log: Log) -> None:
    for message in verdict.messages:
        log.status(message.removeprefix("!"), warning=message.startswith("!"))


def _still_there(live: JsonObject, log: Log) -> PartialError:
    meta = objects.metadata(live)
    finalizers = ", ".join(cast("list[str]", meta.get("finalizers") or []))
    conditions = [
        str(c.get("message"))
        for c in cast("list[JsonObject]", objects.child(live, "status").get("conditions") or [])
        if c.get("status") == "True" and c.get("message")
    ]
    if finalizers:
        log.warn(f"finalizers might be preventing deletion ({finalizers})")
    return PartialError(f"'{meta['name']}' timed out waiting to be deleted", live, conditions)
