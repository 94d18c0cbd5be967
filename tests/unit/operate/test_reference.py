"""The JSON Schema of a stack file takes what meshup takes, and refuses what its grammars refuse."""

import json
import re
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from components.diagnostics import errors, render
from components.security.capability import FEATURES
from components.traffic import parse
from operate import reference
from operate.docs import known_services
from stacks import settings
from tests.unit.stacks.fake_view import build, item, view_of
from tests.unit.traffic.helpers import parsed
from tests.unit.traffic.strategies import configurations, edge_configurations, wild_configurations

REPOSITORY = Path(__file__).resolve().parents[3]
CHECKER: Any = jsonschema.Draft202012Validator(reference.schema())


def faults(document: Any) -> list[str]:
    return ["/".join(map(str, error.absolute_path)) for error in CHECKER.iter_errors(document)]


def examples() -> dict[str, Any]:
    """The stack files and every `config:` of the documentation."""
    found: dict[str, Any] = {}
    for file in sorted(REPOSITORY.glob("Pulumi.*.yaml")):
        found[file.name] = yaml.safe_load(file.read_text())
    pages = [file for file in REPOSITORY.joinpath("docs").rglob("*.md") if "diagnostics" not in file.as_posix()]
    for page in [REPOSITORY / "README.md", *sorted(pages)]:
        for number, block in enumerate(re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)):
            document: Any = yaml.safe_load(block)
            if isinstance(document, dict):
                keys = cast("dict[str, Any]", document)
                if any(key.startswith("meshup:") for key in keys):
                    found[f"{page.name} {number}"] = {"config": keys}
                elif "config" in keys:
                    found[f"{page.name} {number}"] = keys
    return found


EXAMPLES = examples()
ISTIOD = item(
    "Deployment",
    {"name": "istiod", "namespace": "istio-system", "labels": {"app": "istiod", "istio.io/rev": "default"}},
    spec={"template": {"spec": {"containers": [{"name": "discovery", "image": "istio/pilot:1.30.3"}]}}},
)
ROUTE = "config/meshup:traffic/reviews"


def route(**keys: Any) -> dict[str, Any]:
    """The configuration of one route."""
    return {"meshup:traffic": {"reviews": keys}}


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(reference.schema())


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stack_file_and_every_example_is_valid(name: str) -> None:
    assert faults(EXAMPLES[name]) == []


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_stack_file_and_every_example_compiles(name: str) -> None:
    config: dict[str, Any] = EXAMPLES[name].get("config") or {}
    meshup = {key.removeprefix("meshup:"): value for key, value in config.items() if key.startswith("meshup:")}
    # Only a mesh that is not installed by the stack has to be there.
    live = () if meshup.get("istio", {}).get("install", True) else (ISTIOD,)
    made, diagnostics = build(settings.RawConfig(meshup, {"context": "kind-dev"}), view=view_of(*live))
    assert errors(diagnostics) == [], render(diagnostics)
    assert made is not None
    assert set(made.traffic.summaries) == set(meshup.get("traffic", {}))


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"meshup:mesh": "linkered"}, "config/meshup:mesh"),
        ({"meshup:istoi": {}}, "config"),
        ({"meshup:apps": ["bookinfos"]}, "config/meshup:apps/0"),
        ({"meshup:bookinfo": {"replicas": 0}}, "config/meshup:bookinfo/replicas"),
        ({"meshup:bookinfo": {"tag": "-a"}}, "config/meshup:bookinfo/tag"),
        ({"meshup:bookinfo": {"image_pull_secrets": []}}, "config/meshup:bookinfo"),
        ({"meshup:charts": {"directory": "a", "repository": "https://a/b"}}, "config/meshup:charts"),
        ({"meshup:istio": {"gateways": [{"name": "a", "serviceType": "None", "port": 1}]}}, "config/meshup:istio"),
        (route(spilt={"v1": 100}), ROUTE),
        (route(versions={"V1": {"a": "b"}}, split={"V1": 100}), f"{ROUTE}/versions"),
        (route(split={"v1": 101}), f"{ROUTE}/split"),
        (route(split=None), f"{ROUTE}/split"),
        (route(split={"v1": 100}, rules=[{"timeout": "2s"}]), ROUTE),
        (route(loadBalancing="fastest"), f"{ROUTE}/loadBalancing"),
        (route(rateLimit={"requests": "100"}), f"{ROUTE}/rateLimit/requests"),
        (route(rules=[{"match": {"path": "reviews"}}]), f"{ROUTE}/rules/0/match"),
        (route(rules=[{"match": {"headers": {"x group": "a"}}}]), f"{ROUTE}/rules/0/match"),
        (route(rules=[{"timeout": 2}]), f"{ROUTE}/rules/0/timeout"),
        (route(rules=[{"redirect": {"status": 200}}]), f"{ROUTE}/rules/0/redirect/status"),
        (route(egress=[{"host": "a.example", "port": 70000, "protocol": "TLS"}]), f"{ROUTE}/egress/0/port"),
        ({"kubernetes:contxt": "a"}, "config"),
        ({"kubernetes:strictMode": "yes"}, "config/kubernetes:strictMode"),
    ],
)
def test_what_the_grammars_refuse_is_refused_where_it_stands(config: dict[str, Any], path: str) -> None:
    assert faults({"config": config}) == [path]
    raw = {key.removeprefix("meshup:"): value for key, value in config.items() if key.startswith("meshup:")}
    kubernetes = {key.removeprefix("kubernetes:"): v for key, v in config.items() if key.startswith("kubernetes:")}
    loaded, diagnostics = settings.load(settings.RawConfig(raw, kubernetes), "dev")
    assert diagnostics or parse(loaded.traffic, "meshup:traffic", known_services())[1]


@pytest.mark.parametrize(
    "rule",
    [
        {"match": {"path": "/a"}, "timeout": "2s", "retries": 3, "mirror": {"version": "v1"}},
        {"match": [{"path": {"prefix": "/a"}}, {"method": "GET"}], "timeout": {"perTry": "2s"}},
        {"backends": {"v1": 100}, "retries": {"conditions": ["5xx", 503, "503"]}},
        {"backends": [{"version": "v1", "weight": 90}, {"service": "ratings", "weight": 10}]},
        {"redirect": {"scheme": "HTTPS"}},
    ],
)
def test_short_and_long_forms_are_taken_alike(rule: dict[str, Any]) -> None:
    assert faults({"config": route(rules=[rule])}) == []


@given(st.one_of(configurations(), edge_configurations(), wild_configurations))
def test_the_schema_refuses_no_route_that_meshup_takes(raw: dict[str, Any]) -> None:
    if not parsed(raw)[1]:
        assert faults({"config": {"meshup:traffic": raw}}) == []


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_the_schema_takes_every_feature_of_security(feature: Any) -> None:
    assert faults({"config": {"meshup:security": feature.example}}) == []


@pytest.mark.parametrize(
    ("raw", "where"),
    [
        ({"allows": {"reviews": 1}}, ""),
        ({"namespaces": {"shop": {"default": "closed"}}}, "/namespaces/shop/default"),
        ({"allow": {"reviews": [{"from": {"namespace": "UPPER"}}]}}, "/allow/reviews"),
        ({"allow": {"reviews": {"from": {"everybody": True, "mesh": True}}}}, "/allow/reviews"),
        ({"mtls": {"mode": "off"}}, "/mtls/mode"),
    ],
)
def test_the_schema_refuses_what_the_grammar_of_security_refuses(raw: Any, where: str) -> None:
    assert faults({"config": {"meshup:security": raw}}) == [f"config/meshup:security{where}"]


def test_secrets_and_keys_of_others_are_taken() -> None:
    secret = {"secure": "v1:abc"}
    config = {"meshup:istio": secret, "meshup:identity": {"issuerKey": secret}, "aws:region": "eu-west-1"}
    assert faults({"config": config, "encryptionsalt": "v1:x"}) == []


def test_pulumis_project_file_has_the_keys_of_the_sections_and_their_types() -> None:
    project = yaml.safe_load((REPOSITORY / "Pulumi.yaml").read_text())["config"]
    assert sorted(project) == sorted(settings.KEYS)
    made = reference.schema()
    for key, entry in project.items():
        wanted = made["properties"]["config"]["properties"][f"meshup:{key}"]
        reference_to = wanted.get("anyOf", [wanted])[0].get("$ref", "").rpartition("/")[2]
        described = made["$defs"].get(reference_to, wanted)
        assert entry["type"] == described.get("type", "string"), key


def test_the_schema_in_the_documentation_is_up_to_date() -> None:
    written = json.loads((REPOSITORY / "docs" / reference.SCHEMA).read_text())
    assert written == reference.schema(), "python -m operate.docs writes it"
