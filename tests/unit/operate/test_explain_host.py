"""`meshup explain --host`: what the gateways of a stack do with a request from outside."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.operate.test_explain import PROJECT, explained, run, write

HOST = "shop.example.com"
LISTENERS = [
    {"port": 443, "protocol": "https", "hosts": [HOST], "tls": {"secret": "shop-tls", "clientCa": "ca"}},
    {"port": 80, "protocol": "http", "redirect": "https"},
    {"port": 8080, "protocol": "http", "hosts": ["*.example.com"]},
]
STACK: dict[str, Any] = {
    "meshup:environment": "dev",
    "meshup:apps": ["bookinfo"],
    "meshup:gateways": {"public": {"listeners": LISTENERS}},
    "meshup:traffic": {
        "productpage": {"hosts": [HOST], "rules": [{"match": {"path": "/old"}, "redirect": {"path": "/"}}]},
        "reviews": {"hosts": [HOST], "paths": [{"prefix": "/reviews"}], "split": {"v1": 95, "v2": 5}},
    },
}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "Pulumi.yaml").write_text(PROJECT)
    write(tmp_path, STACK)
    return tmp_path


def listeners(project: Path, *arguments: str) -> dict[str, dict[str, Any]]:
    entry = explained(project, "--host", *arguments)["entry"]
    return {listener["listener"]: listener for listener in entry["listeners"]}


def test_each_listener_that_takes_the_host_decides(project: Path) -> None:
    found = listeners(project, HOST, "--path", "/reviews/1")
    assert list(found) == ["https-443", "http-80", "http-8080"]
    assert found["http-80"]["redirect"] == {"status": 301, "location": f"https://{HOST}/reviews/1"}
    https = found["https-443"]
    assert https["tls"] == {"secret": "shop-tls", "mutual": True}
    assert (https["route"], https["rule"]) == ("reviews", "reviews-split")
    assert https["backends"] == [{"name": "v1", "weight": 95}, {"name": "v2", "weight": 5}]
    assert found["http-8080"]["route"] == "reviews"


def test_other_paths_of_the_host_go_to_the_other_route(project: Path) -> None:
    assert listeners(project, HOST)["https-443"]["route"] == "productpage"
    assert listeners(project, HOST, "--path", "/old")["https-443"]["policies"] == ["redirect 302 to /"]


def test_a_host_that_only_a_listener_takes_gets_404(project: Path) -> None:
    found = listeners(project, "other.example.com")
    assert found["http-8080"]["route"] is None
    assert "404" in found["http-8080"]["reason"]


def test_a_host_that_nobody_takes_is_a_fault(project: Path) -> None:
    write(project, {**STACK, "meshup:gateways": {"public": {"listeners": [LISTENERS[0]]}}})
    code, _, error = run(project, "--host", "other.example.net")
    assert code == 1
    assert "MSH402" in error
    assert "shop.example.com" in error


def test_people_read_the_same(project: Path) -> None:
    code, text, _ = run(project, "--host", HOST, "--path", "/reviews/1")
    assert code == 0
    for words in ("301 to https://shop.example.com/reviews/1", "ends TLS with the Secret shop-tls", "v1 95%, v2 5%"):
        assert words in text


def test_it_says_who_splits_the_requests_on_linkerd(project: Path) -> None:
    gateway = {"listeners": [{"port": 80, "protocol": "http"}], "class": "eg"}
    write(project, {**STACK, "meshup:mesh": "linkerd", "meshup:gateways": {"public": gateway}})
    _, text, _ = run(project, "--host", HOST)
    assert "controller of the GatewayClass eg" in text.replace("\n", " ")


def test_a_host_is_compared_as_gateways_do(project: Path) -> None:
    assert listeners(project, f"{HOST.upper()}:8080") == listeners(project, HOST)
    for wrong in ("*.example.com", f"https://{HOST}", f"{HOST}/a"):
        code, _, err = run(project, "--host", wrong)
        assert code == 1
        assert "MSH006" in err
