"""What policies compile to for Linkerd is accepted by a real API server with the real CRDs and their CEL rules.

The dry run is strict, so an unknown field is a fault. What Linkerd's webhook says is in
tests/unit/linkerd_security/test_admission.py.
"""

from collections.abc import Iterator

import pytest

from components.manifests import Manifest, object_ref
from components.meshes import MESHES
from components.security.capability import FEATURES
from components.security.compile import compile_policy
from components.security.model import Policy
from components.security.world import World
from devcluster.embedded import Embedded
from tests.conftest import nightly
from tests.dataplane.traffic import examples, kube_batch
from tests.facts import linkerd
from tests.unit.linkerd_security.objects import match, route
from tests.unit.linkerd_security.test_property import POLICIES, written
from tests.unit.security.test_parse import legal

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def api(embedded: Embedded) -> Iterator[Embedded]:
    """The cluster with the CRDs and the namespaces that the policies need; both go again."""
    names = [*examples.NAMESPACES, "yard"]
    namespaces = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in names]
    needed = [*examples.gateway_api_crds(embedded.toolbox), *linkerd.crds(), *namespaces]
    try:
        kube_batch.apply(embedded, needed)
        yield embedded
    finally:
        kube_batch.delete(embedded, needed)


def refused(api: Embedded, items: list[Manifest]) -> list[str]:
    """What the API server has against objects."""
    assert items, "there is nothing to ask"
    return [
        f"{object_ref(item)}: {fault}"
        for item, fault in zip(items, kube_batch.dry_run(api, items), strict=True)
        if fault
    ]


def objects_of(policy: Policy) -> list[Manifest]:
    """The objects of a policy, none if Linkerd refuses it."""
    compilation = compile_policy(policy, "linkerd", [mesh.security for mesh in MESHES.values()], World())
    return [one.manifest for one in compilation.objects]


def test_every_feature_is_accepted(api: Embedded) -> None:
    assert refused(api, [item for feature in FEATURES for item in objects_of(legal(feature.example))]) == []


def test_generated_policies_are_accepted(api: Embedded) -> None:
    seed = examples.seed_of_this_run()
    policies = examples.drawn(POLICIES, 2000 if nightly() else 100, seed)
    items = [item for policy in policies for item in written(policy) if item["kind"] != "Namespace"]
    different = list({repr(item): item for item in items}.values())
    assert refused(api, different) == [], f"MESHUP_TEST_SEED={seed}"


def test_the_api_server_refuses_a_route_that_is_wrong(api: Embedded) -> None:
    assert len(refused(api, [route("wrong", match("/a//b", "Exact")), route("long", match("/" + "x" * 1024))])) == 2
