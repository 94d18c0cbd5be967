"""Many objects at once on the API server of an embedded cluster: server-side apply, its dry run, deletion.

`apply`, `dry_run` and `delete` are for tests; they run this module where the cluster can be reached. A process for
each object, as kubectl would be, is too slow for hundreds of them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from typing import Any

from devcluster.embedded import Embedded
from devcluster.provider import kubeconfig
from devcluster.provider.client import ApiError, ApiResource, Client, NoMatchError
from devcluster.provider.objects import kind_of

Manifest = Mapping[str, Any]

_MANAGER = "meshup-tests"
_WORKERS = 8
# A CustomResourceDefinition that was just made is served a moment later.
# Only ends a test that would hang: no machine is so busy.
_SECONDS = 600.0


def apply(embedded: Embedded, items: Iterable[Manifest]) -> None:
    """Apply objects; those of one kind at the same time, the kinds in their order."""
    faults = [fault for fault in _run(embedded, "apply", list(items)) if fault]
    assert not faults, "\n".join(faults)


def dry_run(embedded: Embedded, items: Iterable[Manifest]) -> list[str]:
    """Return what the API server and its admission webhooks have against each object, "" for nothing.

    The server-side apply is strict: a field that the schema does not know is a fault.
    """
    return _run(embedded, "dry-run", list(items))


def delete(embedded: Embedded, items: Iterable[Manifest]) -> None:
    """Delete objects in the reverse of their order, if they are there, and wait until they are gone."""
    faults = [fault for fault in _run(embedded, "delete", list(items)[::-1]) if fault]
    assert not faults, "\n".join(faults)


def _run(embedded: Embedded, action: str, items: Sequence[Manifest]) -> list[str]:
    argv = embedded.cluster.exec_argv([sys.executable, "-m", "tests.dataplane.traffic.kube_batch", action])
    done = subprocess.run(
        argv,
        cwd=embedded.toolbox.repository,
        env=embedded.environment(),
        input=json.dumps(items),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class _Batch:
    def __init__(self) -> None:
        config, _ = kubeconfig.effective(kubeconfig.locate("", os.environ))
        self.client = Client(config)

    def path(self, item: Manifest) -> str:
        metadata = item["metadata"]
        return self.resource(item).path(metadata.get("namespace", ""), metadata["name"])

    def resource(self, item: Manifest) -> ApiResource:
        end = time.monotonic() + _SECONDS
        while True:
            try:
                return self.client.resource(kind_of(dict(item)))
            except NoMatchError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)

    def apply(self, item: Manifest, **query: str) -> str:
        query = {"fieldManager": _MANAGER, "fieldValidation": "Strict", "force": "true", **query}
        return self._faults("PATCH", item, query)

    def dry_run(self, item: Manifest) -> str:
        return self.apply(item, dryRun="All")

    def delete(self, item: Manifest) -> str:
        return self._faults("DELETE", item, {})

    def gone(self, item: Manifest) -> str:
        end = time.monotonic() + _SECONDS
        while time.monotonic() < end:
            try:
                self.client.request("GET", self.path(item))
            except ApiError as error:
                return "" if error.not_found else str(error)
            time.sleep(0.2)
        return f"{item['kind']} {item['metadata']['name']} is still there"

    def _faults(self, method: str, item: Manifest, query: Mapping[str, str]) -> str:
        body = dict(item) if method == "PATCH" else None
        kind = "application/apply-patch+yaml" if body else "application/json"
        try:
            self.client.request(method, self.path(item), query, body, content_type=kind)
        except ApiError as error:
            if method == "DELETE" and error.not_found:
                return ""
            return f"{item['kind']} {item['metadata']['name']}: {error}"
        return ""


def main(action: str) -> None:
    """Do one action to the objects on standard input, and print the faults by object."""
    batch = _Batch()
    actions: dict[str, Sequence[Callable[[Manifest], str]]] = {
        "apply": [batch.apply],
        "dry-run": [batch.dry_run],
        "delete": [batch.delete, batch.gone],
    }
    items: list[Manifest] = json.load(sys.stdin)
    faults: list[str] = []
    with ThreadPoolExecutor(_WORKERS) as pool:
        for act in actions[action]:
            for _, group in groupby(items, key=lambda item: item["kind"]):
                faults.extend(pool.map(act, group))
    print(json.dumps(faults))


if __name__ == "__main__":
    main(sys.argv[1])
