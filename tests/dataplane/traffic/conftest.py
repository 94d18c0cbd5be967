"""The mesh of tests/dataplane with the Gateway API, which routes of either API are tried in."""

from collections.abc import Iterator

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests.dataplane.traffic import examples, kube_batch
from tests.dataplane.traffic.bench import Bench


@pytest.fixture(scope="package")
def bench(full: Embedded, bookinfo: Stack) -> Iterator[Bench]:
    """The mesh. The Gateway API's CRDs go again, so that other tests find the cluster as it was."""
    assert bookinfo.outputs()["mesh"]
    crds = examples.gateway_api_crds(full.toolbox)
    try:
        kube_batch.apply(full, crds)
        yield Bench(full)
    finally:
        kube_batch.delete(full, crds)
