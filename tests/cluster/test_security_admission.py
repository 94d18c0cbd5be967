"""What policies are compiled to is accepted by a real API server that serves the real CRDs of both meshes.

The dry run is strict, so an unknown field is a fault, and it runs the CEL rules of the CRDs. What istiod's webhook
says is in tests/dataplane/security/test_webhook.py.
"""

from collections.abc import Iterator, Sequence

import pytest

from components.meshes import MESHES
from components.security.capability import FEATURES
from devcluster.embedded import Embedded
from tests.dataplane.security import samples
from tests.dataplane.traffic import examples, kube_batch
from tests.dataplane.traffic.examples import Example
from tests.facts import linkerd

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def api(embedded: Embedded) -> Iterator[Embedded]:
    """The cluster with the CRDs and the namespaces that the examples need; both go again."""
    theirs = [*examples.istio_crds(embedded.toolbox), *examples.gateway_api_crds(embedded.toolbox), *linkerd.crds()]
    spaces = sorted(
        {item["metadata"]["namespace"] for mesh in MESHES for one in samples.examples(mesh) for item in one.objects}
    )
    needed = [
        *theirs,
        *(
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
            for name in spaces
            if name != "default"
        ),
    ]
    try:
        kube_batch.apply(embedded, needed)
        yield embedded
    finally:
        kube_batch.delete(embedded, needed)


def refused(api: Embedded, chosen: Sequence[Example]) -> list[str]:
    """What the API server has against the objects of examples, with the name of the example."""
    named = [(example.name, item) for example in chosen for item in example.objects]
    faults = kube_batch.dry_run(api, [item for _, item in named])
    return [f"{name}: {fault}" for (name, _), fault in zip(named, faults, strict=True) if fault]


@pytest.mark.parametrize("mesh", MESHES)
def test_every_feature_and_the_closed_samples_are_accepted(api: Embedded, mesh: str) -> None:
    chosen = list(samples.examples(mesh))
    assert len(chosen) == len(FEATURES) - len(MESHES[mesh].security.refusals) + 1
    assert all(example.objects for example in chosen)
    assert refused(api, chosen) == []


def test_the_api_server_refuses_what_is_wrong(api: Embedded) -> None:
    """Otherwise the test above would prove nothing."""
    (account,) = (one for one in samples.examples("istio") if one.name == "caller-account")
    (allow,) = (item for item in account.objects if item["kind"] == "AuthorizationPolicy")
    mode = {**allow, "spec": {**allow["spec"], "action": "PERMIT"}}
    (guard,) = (
        item
        for one in samples.examples("linkerd")
        if one.name == "caller-account"
        for item in one.objects
        if item["kind"] == "Server"
    )
    both = {**guard, "spec": {**guard["spec"], "externalWorkloadSelector": {"matchLabels": {"a": "b"}}}}
    faults = kube_batch.dry_run(api, [allow, mode, guard, both])
    assert [bool(fault) for fault in faults] == [False, True, False, True]
