from pathlib import Path
from typing import Any

import pytest
import yaml

from components import gateway_api
from components.diagnostics import Diagnostic
from components.gateway_api import GatewayApiSettings, existing
from components.helm import ChartSource
from components.manifests import Manifest
from components.meshes import MESHES
from stacks import gateway_api as source
from stacks.gateway_api import parse_bundle
from tests import modules


@pytest.fixture(scope="module")
def bundle() -> Path:
    """The folder of the pinned Go module, from which the embedded cluster takes the bundle too."""
    return modules.directory("sigs.k8s.io/gateway-api") / "config" / "crd" / "standard"


@pytest.fixture(scope="module")
def text(bundle: Path) -> str:
    return "\n---\n".join(file.read_text() for file in sorted(bundle.glob("*.yaml")))


def parse(text: str, path: str) -> tuple[list[Manifest], list[Diagnostic]]:
    return gateway_api.parse(text, path)


def crd(kind: str, version: str = "v1.5.1", channel: str = "standard") -> dict[str, Any]:
    annotations = {gateway_api.BUNDLE_VERSION: version, gateway_api.CHANNEL: channel}
    return {"name": f"{kind}.gateway.networking.k8s.io", "annotations": annotations}


def both(version: str = "v1.5.1", channel: str = "standard") -> list[dict[str, Any]]:
    return [crd("httproutes", version, channel), crd("grpcroutes", version, channel)]


def test_the_pinned_bundle_is_accepted_in_any_order_and_layout(text: str) -> None:
    objects, faults = parse_bundle(text, "p")
    assert faults == []
    assert len(objects) == 10
    assert objects[-1]["kind"] == "ValidatingAdmissionPolicyBinding"
    turned = yaml.safe_dump_all(reversed(objects))
    assert parse_bundle(turned, "p") == (objects, [])


def test_a_changed_bundle_is_refused_by_its_digest(text: str) -> None:
    for changed in (text.replace("maxItems: 16", "maxItems: 17", 1), text.replace("v1.5.1", "v1.4.0")):
        objects, faults = parse_bundle(changed, "p")
        assert objects == []
        assert [fault.code for fault in faults] == ["MSH312"]


@pytest.mark.parametrize("wrong", ["", "a: [", "kind: ConfigMap\nmetadata: {name: x}", "- 1", "42"])
def test_what_is_no_bundle_is_refused(wrong: str) -> None:
    objects, faults = parse_bundle(wrong, "p")
    assert objects == []
    assert [fault.code for fault in faults] == ["MSH311"]


def test_an_empty_cluster_gets_the_bundle_and_our_own_is_kept() -> None:
    assert existing("linkerd", MESHES["linkerd"].gateway_api, [], [], {}) == (True, [])
    ours = {item["name"]: True for item in both()} | {gateway_api.GUARD: True}
    assert existing("linkerd", MESHES["linkerd"].gateway_api, both(), [{"name": gateway_api.GUARD}], ours) == (True, [])


def test_a_suitable_bundle_of_another_owner_is_left_alone() -> None:
    for version in ("v1.2.1", "v1.5.0", "v1.5.1"):
        assert existing("linkerd", MESHES["linkerd"].gateway_api, both(version), [], {}) == (False, [])


@pytest.mark.parametrize(
    ("mesh", "version", "channel", "codes"),
    [
        ("linkerd", "v1.2.0", "standard", {"MSH313"}),
        ("linkerd", "v1.6.0", "standard", {"MSH313"}),
        ("linkerd", "unknown", "standard", {"MSH313"}),
        ("istio", "v1.3.0", "standard", {"MSH313"}),
        ("linkerd", "v1.5.1", "experimental", {"MSH314"}),
        ("istio", "v1.6.0", "experimental", {"MSH313", "MSH314"}),
    ],
)
def test_an_unsuitable_bundle_of_another_owner_is_refused(
    mesh: str, version: str, channel: str, codes: set[str]
) -> None:
    install, faults = existing(mesh, MESHES[mesh].gateway_api, both(version, channel), [], {})
    assert not install
    assert {fault.code for fault in faults} == codes


def test_half_a_bundle_and_a_lonely_guard_are_refused() -> None:
    assert [
        fault.code for fault in existing("linkerd", MESHES["linkerd"].gateway_api, [crd("gateways")], [], {})[1]
    ] == ["MSH313"]
    assert [
        fault.code
        for fault in existing("linkerd", MESHES["linkerd"].gateway_api, [], [{"name": gateway_api.GUARD}], {})[1]
    ] == ["MSH315"]


def test_the_bundle_is_read_from_a_directory_beside_the_charts(bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "gateway-api").symlink_to(bundle)
    objects, faults = source.load(GatewayApiSettings(), ChartSource(directory=str(tmp_path)), {})
    assert (len(objects), faults) == (10, [])


def test_a_named_file_comes_first_and_a_missing_one_is_a_fault(tmp_path: Path) -> None:
    charts = ChartSource(directory=str(tmp_path))
    _, faults = source.load(GatewayApiSettings(manifest=str(tmp_path / "none.yaml")), charts, {})
    assert [(fault.code, fault.path) for fault in faults] == [("MSH311", "meshup:gatewayApi.manifest")]


def test_the_release_is_kept_and_not_fetched_again(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no network in this test")

    monkeypatch.setattr("urllib.request.urlopen", fail)
    environ = {"XDG_CACHE_HOME": str(tmp_path)}
    _, faults = source.load(GatewayApiSettings(), ChartSource(), environ)
    assert [fault.code for fault in faults] == ["MSH317"]
    kept = tmp_path / "meshup" / "gateway-api-1.5.1.yaml"
    kept.parent.mkdir()
    kept.write_text(text)
    objects, faults = source.load(GatewayApiSettings(), ChartSource(), environ)
    assert (len(objects), faults) == (10, [])
