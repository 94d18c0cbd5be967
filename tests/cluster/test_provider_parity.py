"""The embedded plugin against recordings of the official one: the same program, step by step.

The recordings (tests/recordings/official-plugin) are of pulumi-resource-kubernetes 4.29.0. What differs and stays so is
in `DEVIATIONS`, with its reason, and in docs/embedded-provider.md.
"""

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from tests.cluster import pulumi_runs
from tests.cluster.pulumi_runs import Bench, Program

pytestmark = pytest.mark.cluster

_RECORDINGS = Path(__file__).parents[1] / "recordings" / "official-plugin"
_FAILURES = ("schema", "exists", "nokind", "stuck", "chart", "repo")


@dataclass(frozen=True)
class Deviation:
    """Something that differs from the recordings and stays so.

    Attributes:
        steps: a pattern of the recordings that it concerns.
        text: a pattern of the line, as `_facts` gives it, or of the path in state.
        reason: why it stays.
        sometimes: it depends on who is faster, so it need not be seen.
    """

    steps: str
    text: str
    reason: str
    sometimes: bool = False


DEVIATIONS = (
    Deviation(
        "08-exists-up",
        r"diagnostic .*(in the cluster|Ways on|alias|delete_before_replace|pulumi import|Patch|upsert|happen when"
        r"|server-side apply|preserve|deleteBeforeReplace|Managing|manage specific|Adopting|protected|Intentional)",
        "the ways out are told in our own words",
    ),
    Deviation(
        "08-stuck-up",
        r"(diagnostic|status stuck).* (3|4) errors occurred:|diagnostic \* \[Pod parity/stuck",
        "why the pod can't be scheduled is told, too; the official plugin misses it when the pod's event comes early",
    ),
    Deviation(
        "0[12].*",
        r"status crd .*does not serve the new kind yet|crd\.outputs\.status.*",
        "a CustomResourceDefinition is waited for, so that state has its conditions and its objects need no retry",
    ),
    Deviation(
        ".*",
        r"status \w+ (Waiting for app ReplicaSet|warning: \[MinimumReplicas|Deployment initialization"
        r"|\[1/3\] Finding|Service initialization|Resource scheduled|Retry #0; creation failed: no matches)",
        "a passing status is shown only where it lasts long enough to be seen, which depends on the machine",
        sometimes=True,
    ),
    Deviation(
        ".*",
        r"\S+\.outputs\.status\.(terminatingReplicas|conditions\[\d\]\.\w+)",
        "the moment at which the Deployment was last read",
        sometimes=True,
    ),
)

_SKIPPED_SECTIONS = ("Outputs:",)
_HEX = r"[0-9a-f]{8}"


def _plain(text: str) -> str:
    """Take out of a text what differs between any two runs."""
    text = re.sub(rf"\b(cm)-{_HEX}\b", r"\1-<suffix>", text)
    text = re.sub(rf"pulumi-kubernetes-{_HEX}", "pulumi-kubernetes-<suffix>", text)
    text = re.sub(r"\b(dep|stuck|sample)-[0-9a-f]{8,10}(-[a-z0-9]{5})?\b", r"\1-<hash>", text)
    text = re.sub(r"\(\d+(\.\d+)?s\)", "", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "<time>", text)
    text = re.sub(r"\b10\.96\.\d+\.\d+", "<address>", text)
    return re.sub(r"::[0-9a-f-]{36}", "::<id>", text)


_DONE = (
    "created replacement", "deleted original", "created", "updated", "replaced", "deleted", "create", "update",
    "delete", "**creating failed**", "**updating failed**", "**failed**",
)  # fmt: skip
_LINE = re.compile(r"^ (?P<op>[+~-]{0,2}) +kubernetes:(?P<type>\S+) (?P<name>\S+) (?P<rest>.*)$")


def _facts(text: str) -> set[str]:
    """Return what a run's text says: what became of each resource, passing statuses, diagnostics, the summary."""
    facts = set[str]()
    section = ""
    failed = "error:" in text
    for raw in text.splitlines():
        line = _plain(raw).rstrip()
        if re.match(r"\S.*:$", line) and not line.startswith(" "):
            section = line
        if section in _SKIPPED_SECTIONS or "PATH" in line:
            continue
        if section == "Resources:":
            # How far the others came before a failure is a matter of luck.
            if re.match(r"    \S", line) and not failed:
                facts.add(f"summary {' '.join(line.split())}")
            continue
        if section == "Diagnostics:":
            if line.strip() and line != section and "(parity-dev)" not in line and "(dev):" not in line:
                facts.add(f"diagnostic {' '.join(line.split())}")
            continue
        match = _LINE.match(line)
        if match is None:
            continue
        facts |= _resource_facts(match, failed=failed)
    return facts


def _resource_facts(match: "re.Match[str]", *, failed: bool) -> set[str]:
    op, name, rest = match["op"], match["name"], match["rest"].strip()
    difference = re.search(r"\[diff: [^\]]*\]", rest)
    changed = f" {difference[0]}" if difference else ""
    rest = re.sub(r"\[diff: [^\]]*\];?", "", rest).strip()
    done = next((d for d in _DONE if rest == d or rest.startswith(f"{d} ")), "")
    facts = {f"{op} {name} {done}{changed}"} if done else set[str]()
    # A resource that was not reached because another failed first.
    if failed and name == "widget" and done and not done.startswith("**"):
        facts = set[str]()
    said = rest.removeprefix(done).strip() if done else re.sub(r"^(\w+( replacement| original)?)", "", rest).strip()
    if said and not re.fullmatch(r"\d+ errors?|\d+ warnings?", said):
        facts.add(f"status {name} {said}")
    return facts


def _expected(step: str) -> set[str]:
    return _facts((_RECORDINGS / f"{step}.txt").read_text())


def _unexplained(step: str, facts: set[str]) -> set[str]:
    explained = [d for d in DEVIATIONS if re.fullmatch(d.steps, step)]
    return {fact for fact in facts if not any(re.search(d.text, fact) for d in explained)}


@dataclass(frozen=True)
class Runs:
    """Everything that was recorded of ours."""

    texts: dict[str, str]
    previews: dict[str, dict[str, Any]]
    states: dict[str, list[dict[str, Any]]]
    raw_states: dict[str, str]
    left: list[str]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    yield from pulumi_runs.bench(tmp_path_factory.mktemp("parity"))


@pytest.fixture(scope="module")
def runs(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    """Run the program through every step of the recordings."""
    folder = tmp_path_factory.mktemp("program")
    shutil.copytree(_RECORDINGS / "program", folder / "program")
    program = Program(bench, folder / "program", folder / "state")
    runs = Runs({}, {}, {}, {}, [])

    def preview(step: str) -> None:
        runs.previews[step] = json.loads(program.pulumi("preview", "--json"))

    def up(step: str) -> None:
        runs.texts[step] = program.run("up", "--yes", "--skip-preview").stdout

    def export(step: str) -> None:
        runs.states[step] = program.state()
        runs.raw_states[step] = "".join(f.read_text() for f in program.backend.rglob("*.json"))

    program.configure("step", "1")
    preview("01-preview-create")
    up("02-up-create")
    export("02-state")
    preview("03-preview-nochange")
    program.pulumi("preview", "--expect-no-changes")
    program.configure("step", "2")
    preview("04-preview-update")
    up("05-up-update")
    export("05-state")
    config_map = program.outputs()["cm"]
    bench.ask(
        f'ask("PATCH", "/api/v1/namespaces/parity/configmaps/{config_map}", None, {{"data": {{"a": "drift"}}}}, '
        'content_type=MERGE); ask("DELETE", "/api/v1/namespaces/parity/services/svc"); answer = None'
    )
    runs.texts["06-refresh-drift"] = program.run("refresh", "--yes", "--skip-preview").stdout
    up("07-up-after-drift")
    for bad in _FAILURES:
        program.configure("bad", bad)
        runs.texts[f"08-{bad}-preview"] = program.run("preview").stdout
        up(f"08-{bad}-up")
        if bad == "stuck":
            export("08-stuck")
            program.configure("bad", None)
            up("09-up-recovered")
    program.configure("bad", None)
    up("widget mended")
    runs.texts["10-destroy"] = program.destroy()
    runs.left.extend(bench.ask('answer = [n["metadata"]["name"] for n in ask("GET", "/api/v1/namespaces")["items"]]'))
    return runs


_TEXT_STEPS = (
    "02-up-create",
    "05-up-update",
    "06-refresh-drift",
    "07-up-after-drift",
    *(f"08-{bad}-{verb}" for bad in _FAILURES for verb in ("preview", "up")),
    "09-up-recovered",
    "10-destroy",
)


@pytest.mark.parametrize("step", _TEXT_STEPS)
def test_a_run_says_and_does_what_the_official_plugin_does(runs: Runs, step: str) -> None:
    ours, theirs = _facts(runs.texts[step]), _expected(step)
    assert _unexplained(step, ours - theirs) == set(), "only ours"
    assert _unexplained(step, theirs - ours) == set(), "only the official plugin's"


def _resources_by_urn(resources: list[dict[str, Any]]) -> dict[str, Any]:
    return {_plain(r["urn"]): r for r in resources if "pulumi:pulumi:Stack" not in r["urn"]}


_NOT_COMPARED = {"created", "modified", "sourcePosition", "stackTrace", "provider", "delete", "ciphertext"}
_BY_SERVER = {"uid", "resourceVersion", "creationTimestamp", "managedFields"}  # Taken out of the recordings.


def _differences(ours: Any, theirs: Any, path: str) -> Iterator[str]:
    if isinstance(ours, dict) and isinstance(theirs, dict):
        mine, other = cast("dict[str, Any]", ours), cast("dict[str, Any]", theirs)
        for key in sorted(mine.keys() | other.keys()):
            if key in _NOT_COMPARED or (path.endswith(".metadata") and key in _BY_SERVER):
                continue
            if key not in mine or key not in other:
                yield f"{path}.{key}: only {'ours' if key in mine else 'theirs'}"
            else:
                yield from _differences(mine[key], other[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list):
        mine_, other_ = cast("list[Any]", ours), cast("list[Any]", theirs)
        if path.endswith(("dependencies", "metadata")):
            mine_, other_ = sorted(mine_), sorted(other_)
        if len(mine_) != len(other_):
            yield f"{path}: {len(mine_)} elements, theirs {len(other_)}"
        for index, (one, two) in enumerate(zip(mine_, other_, strict=False)):
            yield from _differences(one, two, f"{path}[{index}]")
    elif _plain(str(cast("object", ours))) != _plain(str(cast("object", theirs))):
        yield f"{path}: {ours!r}, theirs {theirs!r}"


@pytest.mark.parametrize("step", ["02-state", "05-state"])
def test_state_holds_what_the_official_plugin_records(runs: Runs, step: str) -> None:
    recorded: Any = json.loads((_RECORDINGS / f"{step}.json").read_text())
    ours, theirs = _resources_by_urn(runs.states[step]), _resources_by_urn(recorded["deployment"]["resources"])
    assert ours.keys() == theirs.keys()
    found = {
        difference
        for urn in theirs
        if "pulumi:providers" not in urn
        for difference in _differences(ours[urn], theirs[urn], urn.rpartition("::")[2])
    }
    assert _unexplained(step.replace("05", "02"), found) == set()


@pytest.mark.parametrize("step", ["01-preview-create", "03-preview-nochange", "04-preview-update"])
def test_a_preview_plans_what_the_official_plugin_plans(runs: Runs, step: str) -> None:
    recorded: Any = json.loads((_RECORDINGS / f"{step}.json").read_text())
    ours: Any = runs.previews[step]
    assert ours["changeSummary"] == recorded["changeSummary"]

    def planned(preview: dict[str, Any]) -> dict[str, Any]:
        kept = ("op", "detailedDiff", "replaceReasons", "diffReasons")
        steps = cast("list[dict[str, Any]]", preview["steps"])
        return {s["urn"]: {k: s.get(k) for k in kept} | {"inputs": s["newState"].get("inputs")} for s in steps}

    assert set(_differences(planned(ours), planned(recorded), "")) == set()


def test_every_object_is_gone_in_the_end(runs: Runs) -> None:
    left = {line.split()[0] for line in (_RECORDINGS / "10-left.txt").read_text().splitlines()[1:]}
    assert {f"namespace/{name}" for name in runs.left} == left


@pytest.mark.parametrize("plain", ["topsecret", "dG9wc2VjcmV0", "hush"])
def test_no_secret_is_in_plain_text_in_state_or_in_any_output(runs: Runs, plain: str) -> None:
    assert not any(plain in text for text in (*runs.raw_states.values(), *runs.texts.values()))
    assert plain not in json.dumps(runs.previews)


def test_a_deployment_that_never_became_ready_is_in_state_with_its_errors(runs: Runs) -> None:
    [stuck] = [r for r in runs.states["08-stuck"] if r["urn"].endswith("::stuck")]
    assert stuck["id"] == "parity/stuck"
    assert "Minimum number of live Pods was not attained" in stuck["initErrors"]


def test_every_listed_deviation_is_still_one(runs: Runs) -> None:
    differing = {step: _facts(runs.texts[step]) ^ _expected(step) for step in _TEXT_STEPS}
    for deviation in DEVIATIONS:
        seen = [
            fact
            for step, facts in differing.items()
            if re.fullmatch(deviation.steps, step)
            for fact in facts
            if re.search(deviation.text, fact)
        ]
        assert seen or deviation.sometimes, deviation
