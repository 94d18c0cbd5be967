"""`meshup:identity`: what is made, what is brought, and what contradicts itself."""

from pathlib import Path
from typing import Any

import pytest

from components.diagnostics import Diagnostic
from components.meshes.linkerd.identity.component import IdentityPlan
from components.meshes.linkerd.identity.decide import decide
from components.meshes.linkerd.identity.settings import IdentitySettings
from stacks import settings
from tests.unit.linkerd.identity.material import DAY, NOW, make
from tests.unit.stacks.configs import raw


def inspected(folder: Path, *, secret: bool = True, **keys: Any) -> tuple[IdentityPlan, list[Diagnostic]]:
    chosen, found = settings.load(raw(mesh="linkerd", identity=keys, secret=("meshup:identity",) * secret), "dev")
    section = chosen.section(IdentitySettings)
    plan, faults = decide(section, "cluster.local", NOW, lambda path, _: (folder / path).read_text(), is_secret=secret)
    return plan, [*found, *faults]


def brought() -> dict[str, str]:
    root = make("root", end=NOW + 3650 * DAY)
    issuer = make("issuer", root, path_length=0)
    return {"trustAnchors": root.pem, "issuerCertificate": issuer.pem, "issuerKey": issuer.key_pem}


def test_without_settings_one_anchor_is_made_and_signs(tmp_path: Path) -> None:
    plan, found = inspected(tmp_path)
    assert found == []
    assert (plan.source, plan.anchors, plan.signer) == ("managed", ("first",), "first")
    assert (plan.anchor.validity_days, plan.issuer.validity_days, plan.issuer.renew_before_days) == (3650, 365, 90)


def test_the_first_anchor_signs_unless_another_is_named(tmp_path: Path) -> None:
    assert inspected(tmp_path, anchors=["a", "b"])[0].signer == "a"
    assert inspected(tmp_path, anchors=["a", "b"], signer="b")[0].signer == "b"


def test_a_brought_identity_is_taken_from_configuration_or_files(tmp_path: Path) -> None:
    material: dict[str, Any] = brought()
    plan, found = inspected(tmp_path, **material)
    assert found == []
    assert plan.source == "provided"
    assert plan.issuer_key_pem == material["issuerKey"]
    assert "PRIVATE" not in repr(plan)
    for key, text in material.items():
        (tmp_path / f"{key}.pem").write_text(text)
    files: dict[str, Any] = {f"{key}File": f"{key}.pem" for key in material}
    from_files, found = inspected(tmp_path, secret=False, **files)
    assert found == []
    assert from_files == plan


def test_a_short_validity_gets_a_window_of_a_third(tmp_path: Path) -> None:
    assert inspected(tmp_path, issuer={"validityDays": 30})[0].issuer.renew_before_days == 10


CONTRADICTIONS: dict[str, tuple[dict[str, Any], set[tuple[str, str]]]] = {
    "signer that is not trusted": (
        {"anchors": ["a"], "signer": "b"},
        {("MSH215", "meshup:identity.signer")},
    ),
    "no anchor": ({"anchors": []}, {("MSH215", "meshup:identity.anchors")}),
    "the same anchor twice": ({"anchors": ["a", "a"]}, {("MSH012", "meshup:identity.anchors[1]")}),
    "window as long as the validity": (
        {"issuer": {"validityDays": 30, "renewBeforeDays": 30}},
        {("MSH220", "meshup:identity.issuer.renewBeforeDays")},
    ),
    "an issuer without its key": (
        {key: value for key, value in brought().items() if key != "issuerKey"},
        {("MSH218", "meshup:identity")},
    ),
    "material beside an external CA": (
        {**brought(), "externalCA": True},
        {("MSH218", "meshup:identity.externalCA")},
    ),
    "a file that is not there": (
        {**{key: value for key, value in brought().items() if key != "issuerKey"}, "issuerKeyFile": "none.pem"},
        {("MSH217", "meshup:identity.issuerKeyFile"), ("MSH218", "meshup:identity")},
    ),
    "text and file": (
        {**brought(), "trustAnchorsFile": "x.pem"},
        {("MSH007", "meshup:identity.trustAnchors")},
    ),
    "an unknown key": ({"anchor_names": ["a"]}, {("MSH002", "meshup:identity.anchor_names")}),
    "a validity of text": ({"issuer": {"validityDays": "1y"}}, {("MSH001", "meshup:identity.issuer.validityDays")}),
    "a name that is no label": ({"anchors": ["A B"]}, {("MSH006", "meshup:identity.anchors[0]")}),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions_are_refused_with_code_and_field(case: str, tmp_path: Path) -> None:
    keys, expected = CONTRADICTIONS[case]
    _, found = inspected(tmp_path, **keys)
    assert {(fault.code, fault.path) for fault in found} >= expected
    assert all(fault.remedy or fault.allowed for fault in found)


def test_a_key_in_plain_configuration_is_refused_and_not_printed(tmp_path: Path) -> None:
    material: dict[str, Any] = brought()
    _, found = inspected(tmp_path, secret=False, **material)
    assert [(fault.code, fault.path) for fault in found] == [("MSH222", "meshup:identity.issuerKey")]
    misspelt: dict[str, Any] = {**material, "isuerKey": material["issuerKey"]}
    _, found = inspected(tmp_path, secret=False, **misspelt)
    assert "MSH002" in {fault.code for fault in found}
    assert material["issuerKey"].splitlines()[1] not in str([fault.as_dict() for fault in found])
