import ast
import json
import re
from typing import Any

import pytest

from components.apps.bookinfo import BOOKINFO
from components.meshes.istio.versions import ISTIO
from devcluster import paths
from devcluster.bench import scenario
from stacks import program, settings
from stacks.plan import Plan
from tests.components.recorder import Record, by_name, recorded
from tests.unit.stacks.configs import raw
from tests.unit.stacks.fake_view import planned

GATEWAYS = [{"name": "istio-ingress"}, {"name": "istio-egress"}]


def plan_of(**keys: Any) -> Plan:
    return planned(raw(**keys))


def registered(**keys: Any) -> list[Record]:
    config = raw(**keys)
    plan, cluster = planned(config), settings.load(config, "dev")[0].cluster

    def build() -> None:
        program.register(plan, program.provider(cluster))

    return recorded(build)


def behind(records: dict[str, Record], name: str) -> set[str]:
    """The names of all that must exist before a resource: its dependencies and parents, and theirs."""
    by_urn = {record.urn: record for record in records.values()}
    seen: set[str] = set()
    queue = [records[name]]
    while queue:
        record = queue.pop()
        for urn in [*record.dependencies, record.parent]:
            other = by_urn.get(urn)
            if other is not None and other.name not in seen:
                seen.add(other.name)
                queue.append(other)
    return seen


def test_the_example_of_the_package_installs_the_pinned_mesh_and_then_the_application() -> None:
    text = (paths.repository() / "docs" / "package.md").read_text().replace("from meshup", "from components")
    example = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0].split("pulumi.export")[0]
    records = by_name(recorded(lambda: exec(example, {})))  # noqa: S102 - the text of the documentation
    releases = [record for record in records.values() if record.type == "kubernetes:helm.sh/v3:Release"]
    routes = [record for record in releases if record.name.startswith("traffic-")]
    assert len(routes) == 2
    releases = [record for record in releases if record not in routes]
    assert {record.inputs["version"] for record in releases} == {ISTIO}
    deployments = [record for record in records.values() if record.type.endswith(":Deployment")]
    assert {record.inputs["spec"]["template"]["spec"]["containers"][0]["image"] for record in deployments} >= {
        f"registry.istio.io/release/examples-bookinfo-productpage-v1:{BOOKINFO}"
    }
    for record in deployments:
        assert {release.name for release in releases} <= behind(records, record.name)


def test_exactly_what_the_plan_names_is_registered() -> None:
    wanted = {(item.kind, item.namespace, item.name) for item in plan_of().objects()}
    found = {
        (record.inputs["kind"], record.inputs["metadata"].get("namespace", ""), record.inputs["metadata"]["name"])
        for record in registered()
        if "metadata" in record.inputs
    }
    assert found == wanted


def test_the_releases_are_those_of_the_plan_in_their_order() -> None:
    keys = {"istio": {"gateways": GATEWAYS}}
    releases = [record for record in registered(**keys) if record.type == "kubernetes:helm.sh/v3:Release"]
    assert [record.inputs["name"] for record in releases][:2] == ["istio-base", "istiod"]
    assert {record.inputs["name"] for record in releases} == {r["name"] for r in plan_of(**keys).mesh.releases}


def test_every_release_is_named_pinned_awaited_and_deleted_before_it_is_replaced() -> None:
    releases = [r for r in registered(istio={"gateways": GATEWAYS}) if r.type == "kubernetes:helm.sh/v3:Release"]
    assert len(releases) == 4
    for release in releases:
        assert release.inputs["name"]
        assert release.inputs["namespace"]
        assert release.inputs["version"] == "1.30.3"
        assert release.inputs["timeout"] == 300
        assert release.inputs["skipAwait"] is False
        assert release.inputs["createNamespace"] is False
        assert release.delete_before_replace


def test_no_null_reaches_the_values_of_a_release() -> None:
    for record in registered(istio={"gateways": GATEWAYS, "hub": "example.invalid"}):
        assert "null" not in json.dumps(record.inputs)


def test_nothing_is_created_before_what_it_needs() -> None:
    records = by_name(registered(istio={"gateways": GATEWAYS}))
    assert "istio-base" in behind(records, "istio-istiod")
    assert {"istio-base", "istio-istiod"} <= behind(records, "istio-gateway-istio-ingress")
    assert "istio-gateway-istio-egress" not in behind(records, "istio-gateway-istio-ingress")
    assert "istio-istiod" in behind(records, "istio-mtls-peer-authentication")
    assert {"istio-istiod", "namespace-bookinfo-namespace"} <= behind(records, "bookinfo-reviews-v1-deployment")
    assert {"traffic-bookinfo-reviews-destinationrule", "bookinfo-reviews-v2-deployment", "istio-istiod"} <= behind(
        records, "traffic-bookinfo-reviews-virtualservice"
    )


def test_registrations_arrive_in_an_order_in_which_each_comes_after_what_it_needs() -> None:
    arrived = registered(istio={"gateways": GATEWAYS})
    records = by_name(arrived)
    position = {record.name: index for index, record in enumerate(arrived)}
    for name in records:
        assert all(position[other] < position[name] for other in behind(records, name))


def test_the_bare_program_of_the_bench_keeps_the_order_that_components_give() -> None:
    arrived = registered(apps=["bookinfo", "emojivoto"], istio={"gateways": GATEWAYS})
    records = by_name(arrived)
    state = [
        {
            "urn": record.urn,
            "type": record.type,
            "custom": not record.type.startswith("meshup:"),
            "parent": record.parent,
            "inputs": record.inputs,
            "dependencies": record.dependencies,
        }
        for record in arrived
    ]
    bare = bare_graph(scenario.bare_program(scenario.resources({"deployment": {"resources": state}})))
    kept = {record.name for record in arrived if record.type.startswith("kubernetes:")}
    assert set(bare) == kept
    for name in kept:
        assert closure(bare, name) == behind(records, name) & kept, name
    spaces = {
        records[name].inputs["metadata"]["name"]: name for name in kept if records[name].type.endswith(":Namespace")
    }
    inside = {name: records[name].inputs.get("metadata", records[name].inputs).get("namespace") for name in kept}
    assert {space for space in inside.values() if space in spaces} == set(spaces)
    for name, space in inside.items():
        assert space not in spaces or spaces[space] in closure(bare, name), name


def bare_graph(program: str) -> dict[str, list[str]]:
    """What each resource of a bare program depends on, by the names of the resources, read from its source."""
    graph: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for line in ast.parse(program).body:
        if not isinstance(line, ast.Assign):
            continue
        call, target = line.value, line.targets[0]
        assert isinstance(call, ast.Call)
        assert isinstance(target, ast.Name)
        names[target.id] = ast.literal_eval(call.args[0])
        options = next(keyword.value for keyword in call.keywords if keyword.arg == "opts")
        used = [node.id for node in ast.walk(options) if isinstance(node, ast.Name)]
        graph[names[target.id]] = [names[variable] for variable in used if variable in names]
    return graph


def closure(graph: dict[str, list[str]], name: str) -> set[str]:
    """All that comes before a resource."""
    return {found for before in graph[name] for found in (before, *closure(graph, before))}


def test_every_object_is_made_by_the_one_provider_of_the_stack() -> None:
    records = registered()
    provider = records[0]
    assert (provider.type, provider.name) == ("pulumi:providers:kubernetes", "cluster")
    made = [record for record in records if record.type.startswith("kubernetes:")]
    assert len(made) == len(plan_of().objects()) + len(plan_of().mesh.releases)
    assert all(record.provider.startswith(provider.urn) for record in made)


def test_the_provider_gets_the_keys_of_the_stack_and_takes_over_its_own_objects() -> None:
    keys = {"context": "kind-dev", "kubeconfig": "/a/config", "suppressHelmHookWarnings": "true"}
    assert registered(kubernetes=keys)[0].inputs == keys | {"upsertExistingObjects": "true"}


def test_components_are_named_and_typed_by_the_house_rules() -> None:
    records = by_name(registered())
    by_urn = {record.urn: record for record in records.values()}
    for record in records.values():
        parent = by_urn.get(record.parent)
        if parent is not None:
            assert record.name.startswith(f"{parent.name}-")
    assert {r.type for r in records.values() if r.type.startswith("meshup:")} == {
        "meshup:index:Istio",
        "meshup:index:MeshNamespace",
        "meshup:index:MutualTls",
        "meshup:index:Bookinfo",
        "meshup:index:Traffic",
    }


@pytest.mark.parametrize("keys", [{"apps": [], "traffic": {}}, {"traffic": {}}])
def test_a_stack_without_traffic_registers_none(keys: dict[str, Any]) -> None:
    assert not [record for record in registered(**keys) if record.type == "meshup:index:Traffic"]
