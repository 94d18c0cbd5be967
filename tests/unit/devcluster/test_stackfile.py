import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from devcluster.stackfile import has_secrets_provider, with_settings, without_secrets_provider

DEV = """\
# One environment per file.
config:
  # which mesh
  meshup:mesh: istio
  meshup:traffic:
    reviews:
      namespace: bookinfo
      split: {v1: 90, v2: 10}

# the end
"""
OURS = {"kubernetes:context": "meshup-dev", "meshup:charts": {"directory": "/c"}}


def test_the_clusters_keys_are_added_and_everything_else_stays_comments_included() -> None:
    result = with_settings(DEV, OURS)
    assert yaml.safe_load(result)["config"] == yaml.safe_load(DEV)["config"] | OURS
    assert [line for line in result.splitlines() if line not in DEV.splitlines()] == [
        '  kubernetes:context: "meshup-dev"',
        '  meshup:charts: {"directory": "/c"}',
    ]
    assert set(DEV.splitlines()) <= set(result.splitlines())


def test_a_key_in_any_of_yamls_forms_is_replaced_and_not_doubled() -> None:
    text = 'config:\n  "kubernetes:context": old\n  meshup:charts:\n    directory: /old\n  meshup:mesh: linkerd\n'
    result = with_settings(text, OURS)
    assert yaml.safe_load(result)["config"] == OURS | {"meshup:mesh": "linkerd"}
    assert result.count("kubernetes:context") == 1
    assert "/old" not in result


def test_setting_twice_is_setting_once() -> None:
    once = with_settings(DEV, OURS)
    assert with_settings(once, OURS) == once


@pytest.mark.parametrize(
    "text", ["", "config:\n", "config: {}\n", "encryptionsalt: v1:x\n", "config:\nencryptionsalt: x"]
)
def test_a_file_without_keys_gets_its_first_ones(text: str) -> None:
    assert yaml.safe_load(with_settings(text, OURS))["config"] == OURS


@pytest.mark.parametrize("text", ["config: [1]\n", "- a\n", "config: {a: 1\n", "config: {meshup:mesh: istio}\n"])
def test_a_file_that_can_not_be_edited_is_refused_and_not_spoilt(text: str) -> None:
    with pytest.raises(ValueError, match=r"YAML|mapping|line by line"):
        with_settings(text, OURS)


@given(
    st.dictionaries(
        st.from_regex(r"[a-z]{1,8}:[a-z]{1,8}", fullmatch=True),
        st.one_of(
            st.text(),
            st.integers(),
            st.booleans(),
            st.dictionaries(st.text(min_size=1), st.text()),
            st.lists(st.text()),
        ),
    )
)
def test_whatever_else_a_file_holds_survives(config: dict[str, object]) -> None:
    text = yaml.safe_dump({"config": config, "encryptionsalt": "v1:abc"})
    loaded = yaml.safe_load(with_settings(text, OURS))
    assert loaded == {"config": config | OURS, "encryptionsalt": "v1:abc"}


def test_the_salt_goes_only_when_no_value_needs_it() -> None:
    text = "encryptionsalt: v1:abc\n" + DEV
    assert has_secrets_provider(text)
    assert without_secrets_provider(text) == DEV
    with pytest.raises(ValueError, match="meshup:token"):
        without_secrets_provider(text + "  meshup:token:\n    secure: v1:xyz\n")
