"""All real pods of the cluster: one worker each, level-triggered, and what Services mean to them."""

import asyncio
import contextlib
import json
import shutil
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from devcluster import netns
from devcluster.kubelet import network, registry, services, spec
from devcluster.kubelet.api import Api, ApiError
from devcluster.kubelet.pod import Host, PodWorker, replace_file
from devcluster.kubelet.spec import Node, Object

_PODS = "/api/v1/pods"
_SERVICES = "/api/v1/services"
_SLICES = "/apis/discovery.k8s.io/v1/endpointslices"
_CONFIG_MAPS = "/api/v1/configmaps"
_SERVICE_RANGE = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes"

_RETRY_SECONDS = 1.0
# Endpoints change in bursts while a Deployment comes up.
_SETTLE_SECONDS = 0.1


class Kubelet:
    """Keeps the processes of this machine in line with the pods of the API."""

    def __init__(self, api: Api, node: Node, host: Host, log: Callable[[str], None]) -> None:
        self._api, self._node, self._host, self._log = api, node, host, log
        self._workers: dict[str, tuple[PodWorker, asyncio.Task[None]]] = {}
        self._objects: dict[str, dict[str, Object]] = {path: {} for path in (_SERVICES, _SLICES, _CONFIG_MAPS)}
        self._names_changed = asyncio.Event()
        self._synced: set[str] = set()
        self._last_address = ""
        self._service_ranges: Sequence[str] = ()

    # What workers ask for (`pod.Names`).

    def hosts(self, namespace: str, pod: str, address: str) -> str:
        """Return a pod's /etc/hosts."""
        others = {name: worker.address for worker, _ in self._workers.values() if (name := _host(worker.pod))}
        return services.hosts(self._all(_SERVICES), self._all(_SLICES), namespace, pod, address, others=others)

    def config_map(self, namespace: str, name: str) -> Mapping[str, str] | None:
        """Return a ConfigMap's data, or None if there is none."""
        found = self._objects[_CONFIG_MAPS].get(f"{namespace}/{name}")
        return None if found is None else spec.mapped(found, "data")

    async def run(self, stop: asyncio.Event) -> None:
        """Reconcile until told to stop, then end every pod's processes."""
        shutil.rmtree(self._host.folder, ignore_errors=True)
        self._service_ranges = (await self._find_service_range(), netns.LOAD_BALANCER_RANGE)
        await asyncio.to_thread(network.route_services, self._service_ranges)
        loop = asyncio.get_running_loop()
        for path in (_SERVICES, _SLICES, _CONFIG_MAPS, _PODS):
            threading.Thread(target=self._watch, args=(path, loop), daemon=True, name=f"watch {path}").start()
        keeper = asyncio.create_task(self._keep_names())
        await stop.wait()
        keeper.cancel()
        for _, task in self._workers.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._workers.values()), return_exceptions=True)

    async def _find_service_range(self) -> str:
        while True:
            with contextlib.suppress(ApiError):
                found = await asyncio.to_thread(self._api.get, _SERVICE_RANGE)
                if found is not None:
                    return next(r for r in found["spec"]["cidrs"] if ":" not in r)
            await asyncio.sleep(_RETRY_SECONDS)

    def _watch(self, path: str, loop: asyncio.AbstractEventLoop) -> None:
        """Follow a collection for ever, in a thread of its own, and hand every event to the loop."""
        pause = threading.Event()
        while not loop.is_closed():
            try:
                for event, item in self._api.watch(path):
                    loop.call_soon_threadsafe(self._take, path, event, item)
            except ApiError as fault:
                self._log(f"watch {path}: {fault}")
                pause.wait(_RETRY_SECONDS)
            except RuntimeError:
                # The loop was closed in between: the kubelet ends.
                return

    def _take(self, path: str, event: str, item: dict[str, Any]) -> None:
        if path == _PODS:
            if event == "LISTED":
                self._sync_pods(item["items"])
            elif event == "DELETED":
                self._forget(item["metadata"]["uid"])
            else:
                self._update(item)
            return
        known = self._objects[path]
        if event == "LISTED":
            known.clear()
            known.update({_key(entry): entry for entry in item["items"]})
            self._synced.add(path)
        elif event == "DELETED":
            known.pop(_key(item), None)
        else:
            known[_key(item)] = item
        if path == _CONFIG_MAPS:
            for worker, _ in self._workers.values():
                if event == "LISTED" or worker.pod["metadata"]["namespace"] == item["metadata"]["namespace"]:
                    worker.refresh()
        else:
            self._names_changed.set()

    # Pods.

    def _sync_pods(self, pods: Iterable[Object]) -> None:
        """Bring the workers in line with a whole list: what is not in it is gone."""
        present = {pod["metadata"]["uid"]: pod for pod in pods}
        for uid in [uid for uid in self._workers if uid not in present]:
            self._forget(uid)
        # Pods that had an address before the kubelet was started again keep it, so they come first.
        for pod in sorted(present.values(), key=lambda p: not spec.mapped(p, "status").get("podIP")):
            self._update(pod)

    def _update(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid in self._workers:
            self._workers[uid][0].update(pod)
            return
        if not pod["spec"].get("nodeName") or not spec.is_real(pod):
            return
        worker = PodWorker(
            pod,
            api=self._api,
            node=self._node,
            host=self._host,
            names=self,
            address=self._address(pod),
            log=self._log,
        )
        if pod["metadata"].get("deletionTimestamp"):
            worker.update(pod)
        task = asyncio.create_task(worker.run())
        task.add_done_callback(lambda done: self._ended(uid, done))
        self._workers[uid] = (worker, task)
        if _host(pod):
            self._names_changed.set()

    def _forget(self, uid: str) -> None:
        if uid in self._workers:
            self._workers[uid][0].forget()

    def _ended(self, uid: str, task: asyncio.Task[None]) -> None:
        worker, _ = self._workers.pop(uid)
        if _host(worker.pod):
            self._names_changed.set()
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._log(f"{worker.key}: {fault!r}")

    def _address(self, pod: Object) -> str:
        used = {worker.address for worker, _ in self._workers.values()}
        kept = spec.mapped(pod, "status").get("podIP", "")
        if network.in_range(kept) and kept not in used:
            return kept
        self._last_address = network.free_address(used, self._last_address)
        return self._last_address

    # Names and addresses of Services.

    def _all(self, path: str) -> list[Object]:
        return list(self._objects[path].values())

    async def _keep_names(self) -> None:
        applied = ""
        while True:
            await self._names_changed.wait()
            await asyncio.sleep(_SETTLE_SECONDS)
            self._names_changed.clear()
            if not {_SERVICES, _SLICES} <= self._synced:
                continue
            rules = services.nat_rules(
                self._all(_SERVICES), self._all(_SLICES), self._node.address, self._service_ranges
            )
            if rules != applied:
                try:
                    await asyncio.to_thread(network.apply, rules)
                    applied = rules
                except OSError as fault:
                    self._log(str(fault))
                    self._names_changed.set()
                    await asyncio.sleep(_RETRY_SECONDS)
            replace_file(
                self._host.folder / registry.SERVICES_FILE, json.dumps(services.directory(self._all(_SERVICES)))
            )
            for worker, _ in self._workers.values():
                worker.refresh()


def _host(pod: Object) -> str:
    return spec.mapped(pod["metadata"], "annotations").get(spec.HOST_ANNOTATION, "")


def _key(item: Object) -> str:
    return f"{item['metadata']['namespace']}/{item['metadata']['name']}"
