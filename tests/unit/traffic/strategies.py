"""Hypothesis strategies: configurations that are mostly legal, requests that often meet them, and plain nonsense."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from components.traffic.evaluate import Request

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
    *("gateway", "hosts", "paths", "retryBudget", "minRetries", "slo", "success", "egress", "protocol", "v1", "v2"),
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
).filter(bool)


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
        body |= draw(st.one_of(st.just(dict[str, Any]()), exposures))
        raw[name] = body
    return raw


exposures: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"gateway": st.sampled_from(["istio-public", "public"])},
    optional={
        "hosts": st.lists(
            st.sampled_from(["shop.example.com", "a.example.org", "*.example.org", "*"]),
            min_size=1,
            max_size=2,
            unique=True,
        ),
        "paths": st.lists(
            st.sampled_from([{"prefix": "/a"}, {"prefix": "/b"}, {"exact": "/ab"}, {"exact": "/a/b"}]),
            min_size=1,
            max_size=2,
        ),
    },
)
"""How a Service is reached from outside, by a gateway of the helpers."""


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


def longest(text: str, count: int) -> str:
    """The text repeated to a length."""
    return (text * (count // len(text) + 1))[:count]


# The longest and the largest that is legal, where one more would be refused.
edge_texts: st.SearchStrategy[Any] = st.sampled_from(
    [
        longest("a.", 4096),
        {"prefix": longest(".+", 500)},
        {"regex": longest("[a-z]|", 498)},
        {"present": True},
        " ~",
        {"prefix": " "},
    ]
)
edge_queries: st.SearchStrategy[Any] = st.sampled_from(
    [longest("a.", 500), {"prefix": longest("$(", 500)}, {"regex": longest("a|", 499)}, {"present": True}]
)
edge_names = st.sampled_from(["a", longest("x-", 256), "!#$%&'*+.^_`|~-", "X-Group", "cookie"])
edge_paths: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"exact": f"/{longest('a', 1023)}"},
        {"prefix": f"/{longest('+', 499)}"},
        {"regex": f"/{longest('[^/]*|', 492)}"},
        {"exact": "/%20;=@!$&'()*+,:~"},
        {"prefix": "/"},
    ]
)
edge_matches: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"path": edge_paths},
        optional={
            "method": st.sampled_from(["TRACE", "CONNECT"]),
            "headers": st.dictionaries(edge_names, edge_texts, min_size=1, max_size=3),
            "query": st.dictionaries(edge_names, edge_queries, min_size=1, max_size=3),
            "source": st.sampled_from([{"a/b": ""}, {f"{longest('a.', 251)}a/{longest('b', 63)}": longest("c", 63)}]),
            "sourceNamespace": st.just(longest("n", 63)),
        },
    ),
    st.fixed_dictionaries(
        {"headers": st.just({f"x-{number}": "v" for number in range(16)})},
    ),
    st.fixed_dictionaries(
        {"cookies": st.sampled_from([{"c": longest("a.", 128)}, {longest("c.", 99): "1", "d": {"present": True}}])}
    ),
    st.fixed_dictionaries(
        {"grpc": st.sampled_from([{"service": longest("a.", 499)}, {"service": "_", "method": longest("B", 500)}])}
    ),
)
edge_durations = st.sampled_from(["1ms", "99999ms", "86400s", "1440m", "24h"])
edge_changes: st.SearchStrategy[Any] = st.sampled_from(
    [
        {
            "set": {"x": longest("v w", 4096), **{f"x-{number}": "1" for number in range(15)}},
            "add": {f"y-{number}": '"~' for number in range(16)},
            "remove": [f"{longest('z', 250)}{number}" for number in range(16)],
        },
        {"set": {"!#$&'*+.^_`|~-": "x"}},
    ]
)
edge_policies: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries({"timeout": edge_durations}),
    st.fixed_dictionaries({"retries": st.just(10), "timeout": st.fixed_dictionaries({"perTry": edge_durations})}),
    st.fixed_dictionaries(
        {
            "retries": st.sampled_from(
                [
                    0,
                    {"attempts": 1, "conditions": ["5xx", "gateway-error", 400, 511]},
                    {"attempts": 1, "conditions": ["connect-failure", "refused-stream", "reset"]},
                    {"attempts": 10, "conditions": ["cancelled", "unavailable", "internal"]},
                    {"attempts": 10, "backoff": "24h"},
                    {"conditions": ["5xx"]},
                ]
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "fault": st.sampled_from(
                [
                    {"abort": {"status": 599, "percent": 0.0001}},
                    {"delay": {"duration": "24h", "percent": 100}, "abort": {"status": 200, "percent": 99.9999}},
                ]
            )
        }
    ),
    st.fixed_dictionaries(
        {"headers": st.fixed_dictionaries({"request": edge_changes}, optional={"response": edge_changes})}
    ),
    st.fixed_dictionaries(
        {
            "rewrite": st.sampled_from(
                [{"path": f"/{longest('a', 1023)}"}, {"prefix": "/"}, {"prefix": "/x", "host": "a.b"}]
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "mirror": st.sampled_from(
                [[{"version": "v1", "percent": 0.0001 * number} for number in range(1, 14)], {"version": "v1"}]
            )
        }
    ),
)


@st.composite
def edge_rules(draw: Draw) -> dict[str, Any]:
    """A rule at the edges of what is legal."""
    rule: dict[str, Any] = dict(draw(edge_policies)) if draw(st.booleans()) else {}
    kind = draw(st.integers(0, 5))
    if kind == 0:
        target = st.sampled_from(
            [
                {"path": "/x"},
                {"host": longest("a.b-", 253)[:252] + "c"},
                {"scheme": "https", "port": 65535, "status": 308},
            ]
        )
        rule = {"redirect": draw(target)}
    elif kind == 1:
        rule["backends"] = [{"service": "gateway", "namespace": "edge", "port": draw(st.sampled_from([80, 9000]))}]
    elif kind == 2:
        rule["backends"] = {"v1": 100}
    return {**rule, "match": draw(st.lists(edge_matches, min_size=1, max_size=2))}


edge_egress: st.SearchStrategy[Any] = st.lists(
    st.fixed_dictionaries(
        {
            "host": st.sampled_from(
                [
                    "a.b",
                    "*.a.b",
                    "any.a.b",
                    ".".join((longest("a", 63), longest("b", 63), longest("c", 63), longest("d", 43))),
                ]
            ),
            "port": st.sampled_from([1, 65535]),
            "protocol": st.sampled_from(["HTTP", "HTTPS", "TLS", "TCP"]),
        }
    ),
    min_size=1,
    max_size=2,
)


edge_service_policies: st.SearchStrategy[Any] = st.sampled_from(
    [
        {},
        *(
            {"circuitBreaker": breaker}
            for breaker in (
                {"consecutiveErrors": 2**31 - 1, "ejection": "24h"},
                {"consecutiveErrors": 1, "maxEjection": "1ms"},
                {"consecutiveErrors": 1, "interval": "1ms", "maxEjectionPercent": 100},
                {f"max{what}": 2**31 - 1 for what in ("Connections", "PendingRequests", "RequestsPerConnection")},
                {"maxRequests": 1},
            )
        ),
        *(
            {"sessionAffinity": session}
            for session in (
                {"cookie": {"name": longest("c", 256), "ttl": "24h", "path": f"/{longest('a', 1023)}"}},
                {"cookie": {"name": "c"}},
                {"header": longest("x-", 256)},
                {"query": "!#$%&'*+.^_`|~-"},
                {"sourceIp": True},
            )
        ),
        {"rateLimit": {"requests": 100_000_000, "per": "50ms"}},
        {"rateLimit": {"requests": 1, "per": "24h", "burst": 2**31 - 1}},
        {"retryBudget": {"percent": 0.0001}},
        {"retryBudget": {"percent": 100, "minRetries": 2**31 - 1}},
        {"retryBudget": {"percent": 20, "ttl": "24h"}},
    ]
)


@st.composite
def edge_configurations(draw: Draw) -> dict[str, Any]:
    """Up to two Services of one's own with the longest names, several ports, and values at the edges."""
    raw: dict[str, Any] = {}
    for name in draw(
        st.lists(st.sampled_from(["a", longest("s", 60), "gateway"]), min_size=1, max_size=2, unique=True)
    ):
        body: dict[str, Any] = {"port": 80}
        if name != "gateway":
            ports = [{"number": 80, "protocol": draw(st.sampled_from(["http", "http2", "grpc"]))}]
            if draw(st.booleans()):
                ports.append({"number": 65535, "targetPort": 1})
            body |= {"namespace": "shop", "ports": ports, "selector": {"app": name}, "versions": {"v1": {"v": "1"}}}
        body["api"] = draw(st.sampled_from(["auto", "auto", "auto", "gateway-api"]))
        body["rules"] = draw(st.lists(edge_rules(), min_size=1, max_size=2))
        raw[name] = body | draw(edge_service_policies) | draw(st.sampled_from([{}, {"egress": draw(edge_egress)}]))
    return raw
