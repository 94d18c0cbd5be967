"""One mesh, one Prometheus and one Zipkin for all that is observed; the stack is left as it was."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from devcluster import stackfile
from devcluster.embedded import Embedded
from devcluster.kubelet import registry
from devcluster.observability import servers
from devcluster.observability.command import printed
from devcluster.stack import Stack
from tests.dataplane.observability.stand import NAMESPACE, POLICY, SERVICE, SETTINGS, WORKLOADS, Stand
from tests.dataplane.test_make_up import kubectl
from tests.dataplane.traffic import examples, kube_batch
from tests.dataplane.traffic.bench import until


@pytest.fixture(scope="package")
def stand(full: Embedded, bookinfo: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """The mesh of tests/dataplane with its metrics and spans on."""
    folder = tmp_path_factory.mktemp("observability")
    full.toolbox.ensure(["prometheus", "zipkin"])
    objects = [*examples.gateway_api_crds(full.toolbox), *servers.zipkin_objects("zipkin"), SERVICE, POLICY]
    before = bookinfo.file.read_text()
    kube_batch.apply(full, objects)
    try:
        bookinfo.file.write_text(stackfile.with_settings(before, SETTINGS))
        with ThreadPoolExecutor() as pool:
            asked = [pool.submit(printed, bookinfo, *more) for more in ([], ["--jobs"])]
            bookinfo.up()
            # Proxies read which statistics they keep when they start.
            names = [f"{labels['app']}-{labels['version']}" for labels in WORKLOADS]
            kubectl(full, "--namespace", NAMESPACE, "rollout", "restart", "deployment", *names)
            for name in names:
                kubectl(full, "--namespace", NAMESPACE, "rollout", "status", "deployment", name)
            # Those before take requests until they have ended.
            pods = registry.pods_folder(full.cluster.name)
            until(lambda: all(len(registry.running(pods, NAMESPACE, labels)) == 1 for labels in WORKLOADS))
            rules, jobs = (one.result() for one in asked)
        with (
            servers.zipkin(full, folder) as zipkin,
            servers.prometheus(full, folder, jobs=jobs["scrape_configs"], rules=rules, interval="1s") as prometheus,
        ):
            yield Stand(full, bookinfo, prometheus, zipkin, rules, len(jobs["scrape_configs"]))
    finally:
        bookinfo.file.write_text(before)
        bookinfo.up()
        kube_batch.delete(full, objects)
