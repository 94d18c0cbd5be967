"""Hypothesis strategies: configurations that are mostly legal, requests that often meet them, and plain nonsense."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from components.routing.evaluate import Request

Draw = st.DrawFn
SEGMENTS = ("a", "b", "ab")
PATHS = ("/", "/a", "/a/b", "/ab", "/b", "/a/b/a")
PATTERNS = ("/a.*", "/a/[a-z]+", "/(a|ab)", "/.*", "/b/?", "/ab?")
VALUES = ("1", "beta", "b")
NAMES = ("x-group", "x-user")

scalars: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 105),
    st.floats(allow_nan=True),
    st.text(max_size=12),
    st.sampled_from(["v1", "90", "1m30s", "5xx", "/a", "reviews", "bookinfo", "GET", "100"]),
)
KEYS = [
    *(
        "reviews",
        "ratings",
        "service",
        "namespace",
        "port",
        "targetPort",
        "versions",
        "selector",
        "api",
        "split",
        "rules",
    ),
    *("name", "match", "backends", "timeout", "retries", "fault", "mirror", "headers", "rewrite", "redirect", "path"),
    *("method", "cookies", "query", "source", "sourceNamespace", "grpc", "exact", "prefix", "regex", "present"),
    *(
        "version",
        "weight",
        "attempts",
        "conditions",
        "backoff",
        "request",
        "perTry",
        "delay",
        "abort",
        "duration",
        "percent",
    ),
    *(
        "status",
        "set",
        "add",
        "remove",
        "response",
        "host",
        "scheme",
        "circuitBreaker",
        "consecutiveErrors",
        "interval",
    ),
    *(
        "loadBalancing",
        "sessionAffinity",
        "cookie",
        "header",
        "sourceIp",
        "ttl",
        "rateLimit",
        "requests",
        "per",
        "burst",
    ),
    *("retryBudget", "minRetries", "egress", "protocol", "v1", "v2"),
]
nonsense: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(KEYS), st.text(max_size=6)), inner, max_size=5),
    ),
    max_leaves=25,
)

text_matches: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(VALUES),
    st.fixed_dictionaries({"prefix": st.sampled_from(VALUES)}),
    st.just({"present": True}),
    st.just({"regex": "b.*|1"}),
)
paths: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"exact": st.sampled_from(PATHS)}),
    st.fixed_dictionaries({"prefix": st.sampled_from(PATHS)}),
    st.fixed_dictionaries({"regex": st.sampled_from(PATTERNS)}),
)
matches: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {},
    optional={
        "path": paths,
        "method": st.sampled_from(["GET", "POST"]),
        "headers": st.dictionaries(st.sampled_from(NAMES), text_matches, min_size=1, max_size=2),
        "cookies": st.dictionaries(st.sampled_from(["group", "id"]), st.sampled_from(["b", "beta"]), min_size=1),
        "query": st.dictionaries(st.sampled_from(["q", "r"]), text_matches, min_size=1, max_size=2),
    },
)


@st.composite
def splits(draw: Draw) -> dict[str, int]:
    """Weights of versions that sum to 100."""
    first = draw(st.integers(0, 100))
    return {"v1": first, "v2": 100 - first}


@st.composite
def rules(draw: Draw) -> dict[str, Any]:
    """A rule, with policies that every mesh has and some that not all have."""
    rule: dict[str, Any] = {"backends": draw(splits())}
    if draw(st.booleans()) or draw(st.booleans()):
        rule["match"] = draw(st.lists(matches, min_size=1, max_size=2))
    policies = st.fixed_dictionaries(
        {},
        optional={
            "timeout": st.sampled_from(["500ms", "2s", "90s"]),
            "retries": st.sampled_from([0, 1, 3, {"attempts": 2, "conditions": ["5xx", 429]}]),
            "headers": st.just({"request": {"set": {"x-a": "1"}}, "response": {"remove": ["x-b"]}}),
            "mirror": st.just({"version": "v3", "percent": 12.5}),
            "fault": st.just({"abort": {"status": 503, "percent": 0.5}}),
            "rewrite": st.sampled_from([{"path": "/x"}, {"host": "example.com"}]),
        },
    )
    if draw(st.integers(0, 3)) == 0:
        rule.update(draw(policies))
    return rule


@st.composite
def configurations(draw: Draw) -> dict[str, Any]:
    """A configuration of one or two Services that can at least be read."""
    raw: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(["reviews", "shop"]), min_size=1, max_size=2, unique=True)):
        body: dict[str, Any] = {"rules": draw(st.lists(rules(), min_size=1, max_size=4))}
        if name == "shop":
            body |= {
                "namespace": "shop",
                "port": 8080,
                "selector": {"app": "shop"},
                "versions": {"v1": {"v": "1"}, "v2": {"v": "2"}, "v3": {"v": "3"}},
            }
        body |= draw(
            st.fixed_dictionaries(
                {},
                optional={
                    "api": st.sampled_from(["auto", "gateway-api", "istio"]),
                    "circuitBreaker": st.just({"consecutiveErrors": 5, "ejection": "90s"}),
                    "rateLimit": st.just({"requests": 10}),
                    "egress": st.just([{"host": "example.com", "port": 80, "protocol": "HTTP"}]),
                },
            )
        )
        raw[name] = body
    return raw


def _request(
    path: str, method: str, headers: dict[str, str], cookies: dict[str, str], query: dict[str, str]
) -> Request:
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    sent = {**headers, "cookie": cookie} if cookie else headers
    return Request(path, method, tuple(sent.items()), tuple(query.items()))


requests = st.builds(
    _request,
    st.sampled_from([*PATHS, "/a/c", "/abc", "/c"]),
    st.sampled_from(["GET", "POST", "PUT"]),
    st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*VALUES, "other"])),
    st.dictionaries(st.sampled_from(["group", "id"]), st.sampled_from(["b", "beta", "c"])),
    st.dictionaries(st.sampled_from(["q", "r"]), st.sampled_from([*VALUES, "other"])),
)


printable = st.text(alphabet=[chr(code) for code in range(32, 127)], min_size=1, max_size=12)
wild_texts: st.SearchStrategy[Any] = st.one_of(
    printable,
    st.fixed_dictionaries({"prefix": printable}),
    st.fixed_dictionaries({"exact": printable}),
    st.fixed_dictionaries({"regex": printable}),
    st.just({"present": True}),
)
wild_paths: st.SearchStrategy[Any] = st.one_of(
    *(st.fixed_dictionaries({kind: printable.map(lambda text: f"/{text}")}) for kind in ("exact", "prefix", "regex"))
)
wild_durations = st.builds("{}{}".format, st.integers(0, 100_000), st.sampled_from(["ms", "s", "m", "h"]))
wild_headers: st.SearchStrategy[Any] = st.dictionaries(printable, printable, max_size=2)
wild_rules: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"backends": splits()},
    optional={
        "match": st.one_of(
            *(
                st.fixed_dictionaries({key: values})
                for key, values in (
                    ("path", wild_paths),
                    ("headers", st.dictionaries(printable, wild_texts, min_size=1, max_size=2)),
                    ("cookies", st.dictionaries(printable, wild_texts, min_size=1, max_size=2)),
                    ("query", st.dictionaries(printable, wild_texts, min_size=1, max_size=2)),
                    ("source", st.dictionaries(printable, printable, min_size=1, max_size=2)),
                    ("sourceNamespace", printable),
                    ("grpc", st.fixed_dictionaries({"service": printable}, optional={"method": printable})),
                )
            )
        ),
        "name": st.sampled_from(["a", "b", "x" * 63]),
        "timeout": wild_durations,
        "headers": st.fixed_dictionaries({"request": st.fixed_dictionaries({"set": wild_headers})}),
        "rewrite": st.fixed_dictionaries(
            {"path": printable.map(lambda text: f"/{text}")}, optional={"host": printable}
        ),
        "mirror": st.fixed_dictionaries({"version": st.just("v3"), "percent": st.floats(0, 100)}),
        "fault": st.fixed_dictionaries(
            {"abort": st.fixed_dictionaries({"status": st.integers(199, 600), "percent": st.floats(0, 100)})}
        ),
        "retries": st.fixed_dictionaries(
            {"attempts": st.integers(0, 11)}, optional={"conditions": st.lists(st.integers(399, 600), max_size=2)}
        ),
    },
)
wild_configurations: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {
        "reviews": st.fixed_dictionaries(
            {"rules": st.lists(wild_rules, min_size=1, max_size=2)},
            optional={
                "circuitBreaker": st.fixed_dictionaries(
                    {"consecutiveErrors": st.integers(0, 2**40), "ejection": wild_durations}
                ),
                "sessionAffinity": st.fixed_dictionaries(
                    {"cookie": st.fixed_dictionaries({"name": printable, "ttl": wild_durations})}
                ),
                "rateLimit": st.fixed_dictionaries({"requests": st.integers(0, 2**40), "per": wild_durations}),
                "retryBudget": st.fixed_dictionaries({"percent": st.floats(0, 100)}),
                "egress": st.lists(
                    st.fixed_dictionaries(
                        {"host": printable, "port": st.integers(0, 65536), "protocol": st.sampled_from(["HTTP", "TLS"])}
                    ),
                    max_size=2,
                ),
            },
        )
    }
)
"""Any printable text and any number where one is taken: many are refused, and what is not must hold."""
