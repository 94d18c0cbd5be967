"""istiod's own validation webhook accepts what policies are compiled to for Istio.

The CRDs of both meshes are tried in tests/cluster/test_security_admission.py; the webhook checks what no schema can.
"""

import pytest

from tests.dataplane.security import bench as objects
from tests.dataplane.security import samples
from tests.dataplane.security.bench import Bench
from tests.dataplane.security.town import SHOP
from tests.dataplane.traffic import kube_batch

pytestmark = pytest.mark.dataplane


def test_every_feature_and_the_closed_samples_are_valid(bench: Bench) -> None:
    named = [(one.name, item) for one in samples.examples("istio") for item in one.objects]
    spaces = [objects.namespace(name) for name in sorted({item["metadata"]["namespace"] for _, item in named})]
    missing = [one for one in spaces if one["metadata"]["name"] not in bench.namespaces()]
    try:
        bench.apply(missing)
        faults = kube_batch.dry_run(bench.embedded, [item for _, item in named])
    finally:
        bench.delete(missing)
    assert [(name, fault) for (name, _), fault in zip(named, faults, strict=True) if fault] == []


def test_the_webhook_refuses_what_only_it_can_see(bench: Bench) -> None:
    """Otherwise the test above would prove nothing."""
    faults = kube_batch.dry_run(bench.embedded, [objects.policy(SHOP, "wrong", {"action": "DENY"})])
    assert "admission webhook" in faults[0]
