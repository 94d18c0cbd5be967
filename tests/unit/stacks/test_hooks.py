import pytest

from stacks.hooks import manager_of, removed_subsets


def rule(*subsets: str) -> dict[str, object]:
    return {"spec": {"host": "reviews", "subsets": [{"name": name, "labels": {"version": name}} for name in subsets]}}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (rule("v1", "v2"), rule("v1"), {"v2"}),
        (rule("v1"), rule("v1", "v2"), set[str]()),
        (rule("v1", "v2"), rule("v2", "v3"), {"v1"}),
        (rule("v1"), {"spec": {"host": "reviews"}}, {"v1"}),
        ({}, rule("v1"), set[str]()),
    ],
)
def test_only_subsets_that_go_are_removed(old: dict[str, object], new: dict[str, object], expected: set[str]) -> None:
    assert removed_subsets(old, new) == expected


def test_a_route_is_moved_under_the_name_of_the_plugin_that_manages_it() -> None:
    fields = [{"manager": "istiod", "operation": "Update"}, {"manager": "pulumi-kubernetes-1f2e", "operation": "Apply"}]
    assert manager_of(fields) == "pulumi-kubernetes-1f2e"
    assert manager_of([{"manager": "kubectl"}]) == "pulumi-kubernetes"
