"""Programs elsewhere that use the package: by import, and over the wire from `pulumi-resource-meshup`."""

import json
import re
from pathlib import Path

import pytest

from components.provider.host import SCHEMA
from devcluster import paths
from devcluster.embedded import Embedded
from tests.cluster.pulumi_runs import Bench, Program
from tests.installed import Environment, built

pytestmark = pytest.mark.cluster

_REMOTE = """
import pulumi


class Remote(pulumi.ComponentResource):
    def __init__(self, component, name, args, opts=None):
        super().__init__(f"meshup:index:{component}", name, args, opts, remote=True)


namespace = Remote("MeshNamespace", "namespace", {"name": "far", "mesh": "istio"})
bookinfo = Remote(
    "Bookinfo",
    "bookinfo",
    {
        "namespace": "far",
        "replicas": REPLICAS,
        "resources": {"requests": {"cpu": "20m"}},
        "podAnnotations": {"token": pulumi.Output.secret("hidden"), "made-in": namespace.name},
    },
    pulumi.ResourceOptions(depends_on=[namespace]),
)
service = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "numbers", "namespace": "far", "labels": {"made-in": namespace.name}},
    "spec": {"ports": [{"port": 80}]},
}
Remote("Traffic", "traffic", {"objects": [service]}, pulumi.ResourceOptions(depends_on=[namespace]))
pulumi.export("namespace", namespace.name)
"""


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("package")
    return Environment(folder / "environment", built(folder / "dist")[1])


def _program(embedded: Embedded, environment: Environment, folder: Path, code: str) -> Program:
    (folder / "program").mkdir()
    options = f"{{virtualenv: {environment.folder}}}"
    (folder / "program" / "Pulumi.yaml").write_text(f"name: far\nruntime: {{name: python, options: {options}}}\n")
    (folder / "program" / "__main__.py").write_text(code)
    bench = Bench(embedded.toolbox, embedded.cluster, lambda _: None)
    bench.environment["PATH"] = f"{environment.folder / 'bin'}:{bench.environment['PATH']}"
    return Program(bench, folder / "program", folder / "state")


def test_a_program_elsewhere_deploys_the_example_of_the_documentation(
    embedded: Embedded, environment: Environment, tmp_path: Path
) -> None:
    example = re.findall(r"```python\n(.*?)```", (paths.repository() / "docs" / "package.md").read_text(), re.DOTALL)[0]
    mesh = {"charts": {"directory": str(embedded.toolbox.path("istio-charts"))}, "webhooks": False}
    program = _program(embedded, environment, tmp_path, example.replace('{"version": "1.30.3"}', repr(mesh)))
    try:
        program.up()
        assert program.resource("bookinfo-reviews-v1-deployment")["outputs"]["metadata"]["namespace"] == "bookinfo"
        (release,) = (item for item in program.state() if "::traffic-bookinfo-routes-" in item["urn"])
        assert release["inputs"]["chart"] == "./.meshup/routes-2.0.0"
        assert any("VirtualService/reviews" in key for key in release["inputs"]["values"]["objects"])
        program.pulumi("preview", "--expect-no-changes")
    finally:
        program.destroy()


def test_components_are_served_to_programs_that_do_not_import_them(
    embedded: Embedded, environment: Environment, tmp_path: Path
) -> None:
    program = _program(embedded, environment, tmp_path, _REMOTE.replace("REPLICAS", "1.5"))
    served = json.loads(
        program.pulumi("package", "get-schema", str(environment.folder / "bin" / "pulumi-resource-meshup"))
    )
    assert set(served["resources"]) == set(json.loads(SCHEMA.read_text())["resources"])
    refused = program.run("preview")
    assert refused.returncode != 0
    assert "replicas" in refused.stdout
    assert "1.5" in refused.stdout
    (program.folder / "__main__.py").write_text(_REMOTE.replace("REPLICAS", "2"))
    try:
        program.up()
        assert program.outputs() == {"namespace": "far"}
        deployment = program.resource("bookinfo-reviews-v1-deployment")
        assert deployment["outputs"]["spec"]["replicas"] == 2
        template = deployment["inputs"]["spec"]["template"]
        assert template["metadata"]["annotations"]["made-in"] == "far"
        assert "hidden" not in str(deployment)
        assert template["spec"]["containers"][0]["resources"] == {"requests": {"cpu": "20m"}}
        service = program.resource("traffic-far-numbers-service")["inputs"]
        assert service["metadata"]["labels"]["made-in"] == "far"
        assert service["spec"]["ports"] == [{"port": 80}]
        parents = {item["urn"]: item.get("parent", "") for item in program.state()}
        assert "meshup:index:Bookinfo::bookinfo" in parents[deployment["urn"]]
        program.pulumi("preview", "--expect-no-changes")
    finally:
        program.destroy()
