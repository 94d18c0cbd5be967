"""A stack that was brought up by an earlier version previews without changes: the program registers what its state has.

The recording is of a real `up` (tests/baseline/record.py). What is to change is in `INTENDED`, with the reason.
"""

import re
from pathlib import Path

import pytest

from tests.baseline import snapshot
from tests.baseline.stacks import PLANNED, STACKS

INTENDED = {
    r"traffic-emojivoto-(web-svc-v1[12]-service|destinations-[01]) inputs .* targetPort: 80 -> 8080": (
        "the pods of emojivoto's front end listen on 8080, so the Services by version that had 80 led nowhere"
    ),
    r"emojivoto-(emoji|voting)-svc-service inputs spec ports 000 appProtocol: \"grpc\" -> null": (
        "Linkerd takes connections to a port with this appProtocol as opaque (MSH169)"
    ),
    r"outputs identity certificates 00\d daysLeft: .* -> null": "it changed every day; notAfter says as much",
    r"(istio-\S+ inputs|outputs mesh) version: \"1\.0\.0\" -> \"1\.31\.0-dev\"": (
        "the charts of the embedded cluster carry the version of their release line"
    ),
}
"""Pattern of a line of `snapshot.differences` -> why it differs."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot.charts(tmp_path_factory.mktemp("baseline") / "charts")


@pytest.fixture(scope="module")
def differing(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What this version registers in another way, by stack."""
    folder = tmp_path_factory.mktemp("registered")
    return {
        name: snapshot.differences(*snapshot.read(name), *snapshot.registered(settings, source, folder))
        for name, settings in (STACKS | PLANNED).items()
    }


@pytest.mark.parametrize("stack", [*STACKS, *PLANNED])
def test_a_stack_that_is_up_previews_without_changes(differing: dict[str, list[str]], stack: str) -> None:
    assert [line for line in differing[stack] if not any(re.fullmatch(pattern, line) for pattern in INTENDED)] == []


@pytest.mark.parametrize("pattern", INTENDED)
def test_every_intended_change_is_one(differing: dict[str, list[str]], pattern: str) -> None:
    assert any(re.fullmatch(pattern, line) for lines in differing.values() for line in lines)
