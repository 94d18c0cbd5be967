import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given
from hypothesis import settings as profile
from hypothesis import strategies as st

from components.diagnostics import Diagnostic, render
from components.gateway_api import GatewayApiSettings
from components.helm import ChartSource
from components.meshes import MESHES
from components.meshes.linkerd.identity.decide import decide
from components.meshes.linkerd.identity.settings import IdentitySettings
from operate import stackfile
from stacks import charts, files, gateway_api, kubeconfig, plan, settings, traffic_file
from stacks.plan import compiled
from stacks.settings import ClusterSettings
from tests.unit.linkerd.identity.material import NOW
from tests.unit.stacks.configs import raw

BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12)
)
MERGED = "a0: &a0 {x: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}], k{n}: 1}}\n" for n in range(1, 12)
)
CHAIN = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{k: *a{n - 1}}}\n" for n in range(1, 200))
HOSTILE = {
    "100,000 [": "[" * 100_000,
    "100,000 {": "{a: " * 100_000,
    "100,000 dashes": "- " * 100_000,
    "an alias bomb": BOMB,
    "a bomb of merge keys": MERGED,
    "a bomb of one long text": "a: &a " + "x" * 1_000_000 + "\nb: [" + ",".join(["*a"] * 100_000) + "]",
    "a chain of aliases": CHAIN,
    "a list that holds itself": "a: &a [*a]",
    "an alias of nothing": "a: *b",
    "a number of 5,000 digits": "a: " + "1" * 5_000,
    "a number of base 60": "a: " + "1:" * 100_000 + "1",
    "numbers of one hash": "".join(f"{n * sys.hash_info.modulus}: x\n" for n in range(1, 5_000)),
    "directives": "".join(f"%TAG !a{n}! b\n" for n in range(200)) + "--- {}",
    "a value that does not fit its type": "a: !!timestamp x",
    "a type of Python": "a: !!python/object/apply:os.system [true]",
    "two documents": "a: 1\n---\nb: 1\n",
    "a control character": "a: \x00",
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("loader", [files.Loader, files.UniqueKeys])
def test_yaml_that_is_too_much_is_refused(case: str, loader: Any) -> None:
    with pytest.raises(files.UnreadableError) as refused:
        files.document(HOSTILE[case], loader)
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("case", [case for case in HOSTILE if "bomb" in case or "100,000" in case])
def test_what_is_too_much_is_known_after_few_events_and_never_composed(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = 0
    parse: Callable[..., Iterator[Any]] = yaml.parse

    def counted(*args: Any, **keys: Any) -> Iterator[Any]:
        nonlocal seen
        for event in parse(*args, **keys):
            seen += 1
            yield event

    monkeypatch.setattr(yaml, "parse", counted)
    monkeypatch.setattr(yaml, "load", None)
    with pytest.raises(files.UnreadableError):
        files.document(HOSTILE[case])
    assert seen < 1_000


def test_plain_yaml_with_aliases_and_merge_keys_is_read() -> None:
    assert files.document("a: &a {x: 2026-08-03}\nb: {<<: *a, y: *a}\n") == {
        "a": {"x": "2026-08-03"},
        "b": {"x": "2026-08-03", "y": {"x": "2026-08-03"}},
    }
    assert files.document("[" * files.MOST_DEPTH + "]" * files.MOST_DEPTH)


def entry(folder: Path, kind: str) -> Path:
    """Something that can stand in the place of a file."""
    path = folder / "it"
    if kind == "a pipe":
        os.mkfifo(path)
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a device without an end":
        return Path("/dev/zero")
    elif kind == "a link to itself":
        path.symlink_to(path)
    elif kind == "a file of a terabyte":
        path.touch()
        os.truncate(path, 1 << 40)
    elif kind == "not UTF-8":
        path.write_bytes(b"\xff\xfe")
    elif kind == "a NUL":
        return folder / "a\x00b"
    elif kind == "9,000 characters":
        return folder / ("a" * 9_000)
    elif kind == "half a character":
        return folder / "\ud800"
    elif kind == "a user that is not there":
        return Path("~nosuchuser/x")
    elif kind in HOSTILE:
        path.write_text(HOSTILE[kind])
    return path


ENTRIES = (
    "nothing",
    "a pipe",
    "a directory",
    "a device without an end",
    "a link to itself",
    "a file of a terabyte",
    "not UTF-8",
    "a NUL",
    "9,000 characters",
    "half a character",
    "a user that is not there",
    "100,000 [",
    "an alias bomb",
)


def _traffic(path: Path) -> list[Diagnostic]:
    chosen = settings.load(raw(), "dev")[0].model_copy(update={"traffic_file": str(path)})
    chosen, found = traffic_file.with_file(chosen, Path())
    return [*found, *compiled(chosen, NOW)[1]]


def _kubeconfig(path: Path) -> list[Diagnostic]:
    return kubeconfig.find(ClusterSettings(context="a", kubeconfig=str(path)), {})[1]


def _ambient(path: Path) -> list[Diagnostic]:
    return kubeconfig.find(ClusterSettings(context="a"), {"KUBECONFIG": str(path)})[1]


def _charts(path: Path) -> list[Diagnostic]:
    chosen = ChartSource().model_copy(update={"directory": str(path)})
    return charts.inspect(chosen, MESHES["istio"], ("base",), None)[1]


def _bundle(path: Path) -> list[Diagnostic]:
    chosen = GatewayApiSettings().model_copy(update={"manifest": str(path)})
    return gateway_api.load(chosen, ChartSource(), {})[1]


def _identity(path: Path) -> list[Diagnostic]:
    chosen = IdentitySettings().model_copy(update={"issuer_key_file": str(path)})
    found = decide(chosen, "cluster.local", NOW, plan.read_file, is_secret=False)[1]
    return [fault for fault in found if fault.path.endswith("File")]


READERS: dict[Callable[[Path], list[Diagnostic]], tuple[str, str]] = {
    _traffic: ("MSH030", "meshup:trafficFile"),
    _kubeconfig: ("MSH021", "kubernetes:kubeconfig"),
    _ambient: ("MSH021", "KUBECONFIG"),
    _charts: ("MSH301", "meshup:charts.directory"),
    _bundle: ("MSH311", "meshup:gatewayApi.manifest"),
    _identity: ("MSH217", "meshup:identity.issuerKeyFile"),
}


@pytest.mark.parametrize(
    ("read", "kind"),
    [
        (read, kind)
        for read in READERS
        for kind in ENTRIES
        # The directory is what these two want, and the last one reads no YAML.
        if not (kind == "a directory" and read in (_charts, _bundle)) and not (kind in HOSTILE and read is _identity)
    ],
)
def test_whatever_stands_in_the_place_of_a_file_is_one_fault(
    tmp_path: Path, read: Callable[[Path], list[Diagnostic]], kind: str
) -> None:
    (fault,) = read(entry(tmp_path, kind))
    assert (fault.code, fault.path) == READERS[read]
    assert render([fault]).encode("utf-8")


def test_a_file_that_is_not_there_is_called_missing(tmp_path: Path) -> None:
    for read in READERS:
        assert "no such" in read(tmp_path / "it")[0].message.lower()


def test_a_process_without_a_home_directory_has_no_kubeconfig(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless(path: Path) -> Path:
        raise RuntimeError(path)

    monkeypatch.setattr(Path, "expanduser", homeless)
    monkeypatch.setattr(Path, "home", lambda: homeless(Path()))
    (fault,) = kubeconfig.find(ClusterSettings(context="a"), {})[1]
    assert (fault.code, fault.path) == ("MSH021", "KUBECONFIG")
    assert "no home directory" in fault.message


@pytest.mark.parametrize("kind", ENTRIES)
def test_whatever_stands_in_the_place_of_a_chart_is_one_fault(tmp_path: Path, kind: str) -> None:
    (tmp_path / "base").mkdir()
    found = entry(tmp_path, kind)
    if found.is_absolute() and found.parent == tmp_path and len(found.name) == len("it"):
        if os.path.lexists(found):
            found.rename(tmp_path / "base" / "Chart.yaml")
        (fault,) = charts.inspect(ChartSource(directory=str(tmp_path)), MESHES["istio"], ("base",), None)[1]
        assert (fault.code, fault.path) == ("MSH303", "meshup:charts.directory")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- 1",
        "name: base\nversion: latest\n",
        "name: base\nversion: 1.30\n",
        "name: base\nversion: [1]\n",
        "name: [base]\nversion: 1.30.3\n",
        "name: base\nversion: " + "9" * 5_000 + "\n",
        "name: base\nversion: 1.30.3\nx: " + "[" * 100_000,
    ],
)
def test_a_chart_without_an_exact_version_is_one_fault(tmp_path: Path, text: str) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "Chart.yaml").write_text(text)
    (fault,) = charts.inspect(ChartSource(directory=str(tmp_path)), MESHES["istio"], ("base",), None)[1]
    assert (fault.code, fault.path) == ("MSH303", "meshup:charts.directory")


@pytest.mark.parametrize("kind", [kind for kind in ENTRIES if kind not in ("nothing", "a user that is not there")])
def test_a_stack_file_that_is_none_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    found = entry(tmp_path, kind)
    if found.parent == tmp_path and found.name == "it":
        found.rename(tmp_path / "Pulumi.yaml")
        with pytest.raises(stackfile.StackFileError, match=r"Pulumi\.yaml"):
            stackfile.read(tmp_path, "dev")


# Any bytes, and any YAML.

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
WORDS = ["name", "base", "version", "1.30.3", "contexts", "context", "users", "user", "clusters", "cluster", "token"]
PARTS = ["current-context", "a", "namespace", "split", "rules", "match", "reviews", "v1", "exec", "command", "server"]
MARKS = [*"[]{}&*!|>%@?-:,\"'#\n\t 0179.", ": ", "- ", "\n  ", "&a ", "*a", "<<: ", "!!int ", "---\n"]
YAMLISH = st.lists(st.sampled_from([*WORDS, *PARTS, *MARKS]), max_size=40).map("".join)
CONTENT = st.binary(max_size=200) | YAMLISH.map(str.encode) | ANYTHING.map(lambda value: yaml.safe_dump(value).encode())


@profile(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(content=CONTENT)
def test_any_bytes_as_any_file_are_read_or_reported(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "Chart.yaml"
    file.write_bytes(content)
    (tmp_path / "base").mkdir(exist_ok=True)
    (tmp_path / "base" / "Chart.yaml").write_bytes(content)
    found = [*_traffic(file), *_kubeconfig(file), *_ambient(file), *_charts(tmp_path), *_bundle(file)]
    assert render(found).encode("utf-8")
