from pathlib import Path

import pytest

from devcluster import paths


def test_the_cache_folder_follows_xdg_cache_home() -> None:
    assert paths.cache_dir({"XDG_CACHE_HOME": "/c", "HOME": "/h"}) == Path("/c/meshup")


def test_a_relative_xdg_folder_is_ignored_as_the_specification_says() -> None:
    assert paths.cache_dir({"XDG_CACHE_HOME": "c", "HOME": "/h"}) == Path("/h/.cache/meshup")


def test_clusters_live_in_the_state_folder_by_name() -> None:
    assert paths.cluster_dir("dev", {"HOME": "/h"}) == Path("/h/.local/state/meshup/dev")
    assert paths.cluster_dir("dev", {"XDG_STATE_HOME": "/s", "HOME": "/h"}) == Path("/s/meshup/dev")


@pytest.mark.parametrize("name", ["", "..", "a/b", "Dev", "-a", "a-", "x" * 33, "a\n", "a b"])
def test_a_cluster_name_can_not_leave_the_state_folder(name: str) -> None:
    with pytest.raises(ValueError, match="can't name a cluster"):
        paths.cluster_dir(name, {"HOME": "/h"})


def test_the_cluster_is_dev_unless_the_environment_names_another() -> None:
    assert paths.cluster_name({}) == "dev"
    assert paths.cluster_name({"MESHUP_CLUSTER": ""}) == "dev"
    assert paths.cluster_name({"MESHUP_CLUSTER": "ci"}) == "ci"


def test_the_repository_is_the_folder_with_the_tools() -> None:
    assert (paths.repository() / "tools" / "kubernetes" / "go.mod").is_file()
