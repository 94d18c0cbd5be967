"""What is registered for Linkerd: order, secrets, restarts."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, cast

import pulumi
import pytest
import yaml

from stacks import program, settings
from stacks.plan import Plan
from tests.components.recorder import Record, by_name, recorded
from tests.components.test_program import behind
from tests.unit.linkerd.identity.material import NOW, make
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import build, stack_of

_SECRET = "4dabf18193072939515e22adb298388d"  # noqa: S105 - the mark of a secret on Pulumi's wire
_CRD = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: httproutes.x}\nspec: {}\n"
APPS = ["bookinfo", "emojivoto"]


def made(**keys: Any) -> Plan:
    wanted: dict[str, Any] = {"mesh": "linkerd", "apps": APPS, "linkerd": {"viz": {"enabled": True}}} | keys
    now = {"MESHUP_NOW": NOW.isoformat()}
    plan, diagnostics = build(raw(secret=("meshup:identity",), **wanted), stack_of(environ=now))
    assert plan is not None, diagnostics
    bundle = (cast("dict[str, Any]", yaml.safe_load(_CRD)),)
    return replace(plan, gateway_api=bundle)


def registered(**keys: Any) -> dict[str, Record]:
    planned = made(**keys)

    def deploy() -> None:
        program.register(planned, program.provider(settings.ClusterSettings(context="kind-dev")))

    return by_name(recorded(deploy))


def release(records: dict[str, Record], name: str) -> dict[str, Any]:
    return cast("dict[str, Any]", plain(records[name].inputs["values"]))


def plain(value: Any) -> Any:
    fields: dict[str, Any] = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    return fields["value"] if _SECRET in fields else cast("Any", value)


def provided(**more: Any) -> dict[str, Any]:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    root = make("root", end=end)
    issuer = make("issuer", root, path_length=0)
    return {
        "trustAnchors": root.pem,
        "issuerCertificate": issuer.pem,
        "issuerKey": issuer.key_pem,
    } | more


def test_nothing_is_created_before_what_it_needs() -> None:
    records = registered()
    bundle = "gateway-api-httproutes"
    assert bundle in behind(records, "linkerd-crds")
    assert {bundle, "linkerd-crds", "identity-issuer"} <= behind(records, "linkerd-control-plane")
    assert {"linkerd-control-plane", "identity-tap"} <= behind(records, "viz-release")
    for app in ("bookinfo-reviews-v1-deployment", "emojivoto-web-deployment"):
        assert "linkerd-control-plane" in behind(records, app)
    route = next(name for name in records if name.endswith("httproute"))
    assert {bundle, "linkerd-control-plane", "bookinfo-reviews-v2-deployment"} <= behind(records, route)


def test_the_release_of_the_crds_waits_for_no_output() -> None:
    values = registered()["linkerd-crds"].inputs["values"]
    assert values == {"installGatewayAPI": False}


def test_every_private_key_reaches_helm_as_a_secret() -> None:
    records = registered()
    text = json.dumps([record.inputs for record in records.values()])
    assert "PRIVATE KEY" in text, "the mocks make real keys, otherwise this test proves nothing"
    for record in records.values():
        shown = json.dumps(without_secrets(record.inputs))
        assert "PRIVATE KEY" not in shown, record.name


def without_secrets(value: Any) -> Any:
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        if _SECRET in fields:
            return "[secret]"
        return {key: without_secrets(item) for key, item in fields.items()}
    if isinstance(value, list):
        return [without_secrets(item) for item in cast("list[Any]", value)]
    return value


def test_a_brought_key_is_a_secret_and_no_anchor_is_made() -> None:
    records = registered(identity=provided())
    assert not any("anchor" in name for name in records)
    assert "identity-linkerd-proxy-injector" in records
    assert "PRIVATE KEY" not in json.dumps([without_secrets(record.inputs) for record in records.values()])


def test_with_an_external_ca_only_the_webhooks_certificates_are_made() -> None:
    records = registered(identity={"externalCA": True})
    kinds = [name for name, record in records.items() if record.type.endswith(":Certificate")]
    assert sorted(kinds) == [
        "identity-linkerd-policy-validator",
        "identity-linkerd-proxy-injector",
        "identity-linkerd-sp-validator",
        "identity-tap",
        "identity-tap-injector",
    ]
    values = release(records, "linkerd-control-plane")
    assert values["identity"] == {"externalCA": True, "issuer": {"scheme": "kubernetes.io/tls"}}
    assert "identityTrustAnchorsPEM" not in values


def test_control_plane_extension_and_workloads_restart_together() -> None:
    records = registered()
    control = plain(release(records, "linkerd-control-plane")["podAnnotations"])["meshup/trust"]
    extension = plain(release(records, "viz-release")["podLabels"])["meshup/trust"]
    web = records["emojivoto-web-deployment"].inputs["spec"]["template"]["metadata"]["annotations"]["meshup/trust"]
    assert plain(control) == plain(extension) == plain(web)


def test_during_a_rotation_both_anchors_are_in_the_bundle_and_one_signs() -> None:
    records = registered(identity={"anchors": ["2026", "2027"], "signer": "2027"})
    bundle = plain(release(records, "linkerd-control-plane")["identityTrustAnchorsPEM"])
    assert bundle.count("BEGIN CERTIFICATE") == 2
    issuer = records["identity-issuer"].inputs
    assert plain(issuer["signerCertificatePEM"]) in bundle


def test_no_null_reaches_the_values_of_a_release() -> None:
    for record in registered().values():
        if record.type == "kubernetes:helm.sh/v3:Release":
            assert "null" not in json.dumps(record.inputs)


def test_namespaces_of_applications_are_annotated_and_not_labelled() -> None:
    metadata = registered()["namespace-bookinfo-namespace"].inputs["metadata"]
    assert metadata["annotations"]["linkerd.io/inject"] == "enabled"
    assert "istio-injection" not in metadata["labels"]


def test_outputs_are_the_same_on_another_day_and_the_log_says_how_many_days_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    planned = made(identity=provided())
    said: list[str] = []

    def note(message: str, *_: object) -> None:
        said.append(message)

    monkeypatch.setattr(pulumi.log, "info", note)

    def outputs(at: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        monkeypatch.setenv("MESHUP_NOW", at)

        def deploy() -> None:
            later = program.register(planned, program.provider(settings.ClusterSettings(context="kind-dev")))
            pulumi.Output.from_input(dict(later)).apply(found.update)

        recorded(deploy)
        return {name: value for name, value in found["identity"].items() if name != "certificates"} | {
            entry["role"]: entry
            for entry in found["identity"]["certificates"]
            # The mocks keep no state, so what meshup makes is made anew.
            if entry["role"] in ("anchor 1", "issuer")
        }

    first, second = outputs("2026-11-22T00:00:00Z"), outputs("2026-11-23T00:00:00Z")
    assert first == second
    assert "issuer" in first
    days = [re.findall(r"issuer \d{4}-\d\d-\d\d \((\d+) days left\)", line) for line in said]
    assert [int(found) for line in days for found in line] == [365, 364]
