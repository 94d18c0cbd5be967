"""The mesh of tests/dataplane with a town of callers and called."""

from collections.abc import Iterator

import pytest

from devcluster.embedded import Embedded
from devcluster.stack import Stack
from tests.dataplane.security import town
from tests.dataplane.security.bench import Bench


@pytest.fixture(scope="package")
def bench(full: Embedded, bookinfo: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The mesh with the town, which goes again."""
    assert bookinfo.outputs()["mesh"]
    subject = Bench(full, tmp_path_factory.mktemp("identities"))
    everything = town.manifests()
    try:
        subject.apply(everything)
        subject.until_ready(everything)
        yield subject
    finally:
        subject.close()
        subject.delete(everything)
