"""The table of what each mesh can: every cell is either refused with a reason, or changes what is deployed."""

from typing import Any

import pytest

from components.meshes import MESHES
from components.telemetry.capability import FEATURES
from stacks.plan import Plan
from tests.unit.telemetry.plans import faults, plan_of

NAMES = [feature.name for feature in FEATURES]


def deployed(plan: Plan) -> Any:
    return plan.mesh.releases, plan.telemetry.objects, plan.annotations


@pytest.mark.parametrize("feature", FEATURES, ids=NAMES)
@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_writes_a_feature_or_refuses_it(mesh: str, feature: Any) -> None:
    example = dict(feature.example)
    refused = [one for one in faults(mesh=mesh, **example) if one.code == "MSH641" and one.value == feature.title]
    if reason := MESHES[mesh].telemetry.refusals.get(feature.name):
        assert refused
        assert all(reason in one.message for one in refused)
    else:
        assert refused == []
        assert deployed(plan_of(mesh=mesh, **example)) != deployed(plan_of(mesh=mesh))


@pytest.mark.parametrize("mesh", MESHES)
def test_a_mesh_refuses_features_that_there_are(mesh: str) -> None:
    assert MESHES[mesh].telemetry.refusals.keys() <= {*NAMES}
