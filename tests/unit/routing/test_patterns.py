"""Patterns: what Rust's regex crate makes of them, and how much work questions about them are.

The Rust is pydantic's: `pydantic_core` compiles the pattern of a text with the regex crate and its default limit of
10 MiB, as Linkerd's policy controller and proxy do (`Regex::new`).
"""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from components.routing import compile_routes, patterns
from components.routing.gateway_api import LINKERD
from components.routing.manifests import cookie_pattern, quote
from components.routing.model import TextMatch
from tests.unit.routing.helpers import routes_of


class Rust:
    """A pattern as Linkerd compiles it."""

    def __init__(self, pattern: str) -> None:
        self.validator = SchemaValidator(core_schema.str_schema(pattern=pattern, regex_engine="rust-regex"))

    def matches(self, text: str) -> bool:
        """True if the pattern is found in a text."""
        try:
            self.validator.validate_python(text)
        except ValidationError:
            return False
        return True


ESCAPES = st.sampled_from([r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\.", r"\-", r"\]", r"\^", r"\\", r"\t", r"\v"])
CHARACTERS = st.sampled_from([*"ab1_-/ ~&;=,:%", r"\d", r"\w"])
CLASS_PARTS = st.one_of(
    ESCAPES, st.sampled_from(["a", "b", "_", ".", "1", "a-f", "0-9", "!-/", " ", "$", "*", "(", "|"])
)
CLASSES = st.builds(
    "[{}{}]".format, st.sampled_from(["", "^"]), st.lists(CLASS_PARTS, min_size=1, max_size=4).map("".join)
)
REPETITIONS = st.sampled_from(
    ["*", "+", "?", "*?", "+?", "{3}", "{0,2}", "{2,}", "{1,253}", "{1000}", "{0,999}", "{40}?", "{25,}", "{0}"]
)
some_patterns = st.recursive(
    st.one_of(CHARACTERS, ESCAPES, CLASSES, st.just(".")),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("({}|{})".format, inner, inner),
        st.builds("(?:|{})".format, inner),
        st.builds("(?:{}){}".format, inner, REPETITIONS),
        st.builds("({})".format, inner),
    ),
    max_leaves=8,
)
accepted = some_patterns.filter(lambda pattern: len(pattern) <= 500 and not patterns.fault(pattern))
texts = st.lists(st.text(alphabet="abf1_-/ ~.\t\n\v\\;é", max_size=8), max_size=8)

ODD = "".join(f"\\{chr(code)}" if chr(code) in "[]\\^-&~" else chr(code) for code in range(33, 127, 2))


@given(accepted, texts)
@example(r"[\w.-]{1,253}", ["a", "é"])
@example(r"\w{210}", ["a" * 210])
@example(r"[^\W]{1,1000}", ["a" * 1000])
@example(r"[^\d]|\D", ["a", "é", "1", "٣"])
@example(r"a|ab", ["ab"])
def test_what_is_accepted_compiles_in_rust_and_matches_the_same_texts(pattern: str, asked: list[str]) -> None:
    rust = Rust(LINKERD.pattern(pattern))
    shortest = patterns.example([pattern])
    for text in [*asked, *([] if shortest is None else [shortest])]:
        assert rust.matches(text) == patterns.matches(pattern, text), text


def test_the_rust_of_the_test_has_the_limit_of_linkerd() -> None:
    Rust(r"^(?:\w{209})$")
    with pytest.raises(SchemaError, match="size limit of 10485760 bytes"):
        Rust(r"^(?:\w{210})$")


@pytest.mark.parametrize("part", [f"[^{ODD}]", f"[{ODD}]", ".", r"\W", r"\S", "[^a]", "(?:a|[^b])", f"(?:[^{ODD}]|)"])
@pytest.mark.parametrize("sign", ["{%d}", "?){%d}", "{0,%d}", "{%d,}", "*){%d}"])
def test_the_largest_that_is_accepted_compiles_in_rust(part: str, sign: str) -> None:
    piece = f"(?:{part}{sign}" if ")" in sign else part + sign

    def written(count: int) -> str:
        return "".join(piece.replace("%d", str(min(1000, count - done))) for done in range(0, count, 1000))

    sizes = [size for size in range(25, 4000, 25) if len(written(size)) <= 500 and not patterns.fault(written(size))]
    assert sizes
    Rust(LINKERD.pattern(written(sizes[-1])))


@given(st.sampled_from(["a", "a.b", "x+y", "a;b", "[", "~ -&&"]), st.text(alphabet="ab.;=x +", max_size=12))
def test_prefixes_and_cookies_are_written_for_rust_as_they_are_meant(value: str, text: str) -> None:
    prefix = Rust(LINKERD.pattern(quote(value) + ".*"))
    assert prefix.matches(text) == text.startswith(value)
    both = cookie_pattern((("a", TextMatch("exact", "b")), ("x", TextMatch("prefix", "a"))))
    assert Rust(LINKERD.pattern(both)).matches(text) == bool(re.fullmatch(both, text))


def test_linkerds_objects_have_ascii_classes() -> None:
    where = {
        "path": {"regex": r"/\d+"},
        "headers": {"x": {"regex": r"[\w.-]{1,253}"}},
        "query": {"q": {"regex": r"\S"}},
    }
    (route,) = [
        item
        for item in compile_routes(routes_of({"reviews": {"rules": [{"match": where}]}}), "linkerd").objects
        if item["kind"] == "HTTPRoute"
    ]
    match = route["spec"]["rules"][0]["matches"][0]
    assert match["path"]["value"] == "^(?:/[0-9]+)$"
    assert match["headers"][0]["value"] == r"^(?:[\-.0-9A-Z_a-z]{1,253})$"
    assert match["queryParams"][0]["value"] == r"^(?:[^\x09\x0a\x0c\x0d ])$"
    timed = [{"match": {"path": {"regex": r"/\d|/x"}}, "timeout": "2s"}]
    (profile,) = compile_routes(routes_of({"reviews": {"api": "service-profile", "rules": timed}}), "linkerd").objects
    assert profile["spec"]["routes"][0]["condition"] == {"pathRegex": "(?:(?:/[0-9]|/x))"}
