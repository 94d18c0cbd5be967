"""Patterns: what Rust's regex crate makes of them, and how much work questions about them are.

The Rust is pydantic's: `pydantic_core` compiles the pattern of a text with the regex crate and its default limit of
10 MiB, as Linkerd's policy controller and proxy do (`Regex::new`).
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic_core import SchemaError, SchemaValidator, ValidationError, core_schema

from components.diagnostics import Diagnostic
from components.meshes.linkerd.http_route import LINKERD_ROUTE
from components.traffic import patterns
from components.traffic.manifests import cookie_pattern, quote
from components.traffic.model import TextMatch
from tests.unit.traffic.helpers import compile_routes, routes_of


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
    rust = Rust(LINKERD_ROUTE.dialect.pattern(pattern))
    with contextlib.suppress(patterns.TooMuchWork):
        asked = [*asked, patterns.example([pattern]) or ""]
    for text in asked:
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
    Rust(LINKERD_ROUTE.dialect.pattern(written(sizes[-1])))


@given(st.sampled_from(["a", "a.b", "x+y", "a;b", "[", "~ -&&"]), st.text(alphabet="ab.;=x +", max_size=12))
def test_prefixes_and_cookies_are_written_for_rust_as_they_are_meant(value: str, text: str) -> None:
    prefix = Rust(LINKERD_ROUTE.dialect.pattern(quote(value) + ".*"))
    assert prefix.matches(text) == text.startswith(value)
    both = cookie_pattern((("a", TextMatch("exact", "b")), ("x", TextMatch("prefix", "a"))))
    assert Rust(LINKERD_ROUTE.dialect.pattern(both)).matches(text) == bool(re.fullmatch(both, text))


def test_linkerds_objects_have_ascii_classes() -> None:
    where = {
        "path": {"regex": r"/\d+"},
        "headers": {"x": {"regex": r"[\w.-]{1,253}"}},
        "query": {"q": {"regex": r"\S"}},
    }
    (route,) = [
        item
        for item in compile_routes(routes_of({"reviews": {"rules": [{"match": where}]}}), "linkerd").manifests
        if item["kind"] == "HTTPRoute"
    ]
    match = route["spec"]["rules"][0]["matches"][0]
    assert match["path"]["value"] == "^(?:/[0-9]+)$"
    assert match["headers"][0]["value"] == r"^(?:[\-.0-9A-Z_a-z]{1,253})$"
    assert match["queryParams"][0]["value"] == r"^(?:[^\x09\x0a\x0c\x0d ])$"
    timed = [{"match": {"path": {"regex": r"/\d|/x"}}, "timeout": "2s"}]
    (profile,) = compile_routes(routes_of({"reviews": {"api": "service-profile", "rules": timed}}), "linkerd").manifests
    assert profile["spec"]["routes"][0]["condition"] == {"pathRegex": "(?:(?:/[0-9]|/x))"}


def rules_of(*matches: Any) -> dict[str, Any]:
    """A route with a rule for each match, with different outcomes."""
    rules = [{"match": match, "backends": {f"v{number % 3 + 1}": 100}} for number, match in enumerate(matches)]
    return {"reviews": {"rules": rules}}


def headers_of(*texts: str) -> dict[str, Any]:
    """A match on headers by patterns."""
    return {"headers": {f"x{number}": {"regex": text} for number, text in enumerate(texts)}}


DECIDED: dict[str, dict[str, Any]] = {
    "64 patterns on a header": rules_of(*(headers_of(f"[a-z]+-{n}-[a-z]+") for n in range(64))),
    "64 rules of 16 patterns": rules_of(
        *(headers_of(*(f"[a-z]+-{(7 * n + 3 * m) % 64}-[0-9]{{1,9}}" for m in range(16))) for n in range(64))
    ),
    "repetitions of what may be nothing": rules_of(*({"path": {"regex": f"/([ab]?){{{893 + n}}}"}} for n in range(8))),
    "one large pattern often": rules_of(
        *({"path": {"regex": "/([ab]?){900}"}, "headers": {f"x{n}": "1"}} for n in range(8))
    ),
    "4,096 paths": rules_of(*([{"path": f"/p/{n}/{m}"} for m in range(64)] for n in range(64))),
    "4,096 prefixes": rules_of(*([{"path": {"prefix": f"/p/{n}/{m}"}} for m in range(64)] for n in range(64))),
    "cookies": rules_of(*({"cookies": {"a" * 20: "v" * 99, "b": {"prefix": f"w{n}" * 20}}} for n in range(64))),
}
REFUSED: dict[str, dict[str, Any]] = {
    "more sets of states than any machine has": rules_of(
        {"path": {"regex": "/[ab]*a[ab]{99}"}}, {"path": {"regex": "/[ab]*aa[ab]{98}"}}
    ),
    "64 that count": rules_of(*(headers_of(f"/.*a.{{{400 + n}}}") for n in range(64))),
    "copies that may be left out": rules_of(*({"path": {"regex": f"/(a?b?){{{600 - n}}}"}} for n in range(8))),
}


def compiled_of(raw: dict[str, Any]) -> tuple[set[str], list[Diagnostic], int]:
    """The codes that compiling a configuration gives, those of too much work, and the steps that it took."""
    routes = routes_of(raw)
    with patterns.counted() as work:
        found = compile_routes(routes, "istio").diagnostics
    return {fault.code for fault in found}, [fault for fault in found if fault.code == "MSH162"], work.steps


@pytest.mark.parametrize("name", DECIDED)
def test_large_configurations_are_decided(name: str) -> None:
    codes, refused, steps = compiled_of(DECIDED[name])
    assert "MSH130" in codes
    assert not refused
    assert steps < patterns.MOST_STEPS / 5


@pytest.mark.parametrize("name", REFUSED)
def test_what_takes_too_much_work_is_refused_with_the_patterns_and_the_rules(name: str) -> None:
    _, (fault,), steps = compiled_of(REFUSED[name])
    # The last question is stopped within a step of its own, which is no more than a set of states is large.
    assert patterns.MOST_STEPS < steps < patterns.MOST_STEPS * 1.01
    assert fault.path.startswith("meshup:traffic.reviews.rules[")
    assert str(fault.value) in json.dumps(REFUSED[name])
    assert "Most steps went on the patterns" in fault.message


def test_the_same_configuration_takes_the_same_steps_again() -> None:
    name = "64 rules of 16 patterns"
    assert compiled_of(DECIDED[name]) == compiled_of(DECIDED[name])


def test_a_refusal_for_too_much_work_does_not_hide_the_faults_of_other_routes() -> None:
    costly = next(iter(REFUSED.values()))
    other = {"ratings": {"rules": [{"redirect": {"path": "/b"}, "timeout": "2s"}]}}
    codes, refused, _ = compiled_of({**costly, **other})
    assert len(refused) == 1
    assert "MSH148" in codes


@pytest.mark.parametrize("pattern", ["/.*a.{400}", "/([ab]?){900}", "/(a?b?){600}", "/(?:ab|a|b)*", "/.*a.*b.*a.{300}"])
def test_a_long_text_takes_steps_by_its_length(pattern: str) -> None:
    with patterns.counted() as work:
        for number in range(40):
            patterns.matches(pattern + "c?" * number, f"/{'ab' * 5000}")
    assert work.steps < 40 * 10_000 * 2
