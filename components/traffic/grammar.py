"""The raw form of `meshup:traffic` as pydantic models: types, ranges, choices and names.

parse.py resolves these to the model of routes (model.py), where names are Services and short forms are expanded. A
field that needs no resolution has the same name in both.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated, Any, Literal, cast

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic_core import core_schema

from ..diagnostics import one_of
from ..diagnostics.validation import (
    BY_SHAPE,
    LIST,
    MAPPING,
    NUMBER,
    PRINTABLE,
    TEXT,
    Checked,
    Form,
    Location,
    One,
    Refusals,
    Some,
    inconsistent,
    is_partial,
    refuse_all,
    refused,
)
from ..gateways.model import PublicHost
from . import patterns
from .capability import CONNECTION_RETRY, GRPC_RETRY, HTTP_RETRY
from .durations import duration_remedy, duration_text, milliseconds
from .manifests import cookie_pattern
from .model import LATENCY_BOUNDS, TextMatch, TextMatchKind
from .overlap import canonical_path

MOST_RULES = 64
MOST_BACKENDS = 16
"""Gateway API v1.5.1: backendRefs per rule."""
MOST_CONDITIONS = 16
"""Gateway API v1.5.1: headers and query parameters per match."""
MOST_COOKIES = 2
"""Cookies share one header, and patterns without look-ahead must write out every order of them."""
MOST_CHANGES = 16
MOST_MIRRORS = 13
"""Gateway API v1.5.1: a filter changes 16 headers in each way; a rule has 16 filters, three of which may be others."""
MOST_REQUESTS = 100_000_000
"""Linkerd stores requests per second in 32 bits, and 50 ms is the shortest interval."""
SHORTEST_FILL = 50
"""Milliseconds; the shortest fill_interval of Envoy's local rate limit."""
LONGEST_REGEX = 1024
"""Istio's webhook rejects longer regular expressions, and quoting may double a text (validateStringRegexp)."""
LONGEST_EGRESS_HOST = 235
"""The host is part of an object name of at most 253 characters."""
MOST_HOSTS = 16
"""Gateway API v1.5.1: hostnames per HTTPRoute."""
MOST_PATHS = 16
FULL_WEIGHT = 100
NEVER_THERE = ("keep-alive", "proxy-connection", "transfer-encoding")
"""Headers of the connection (RFC 9110, section 7.6.1) that Envoy was seen to remove whatever their value. Connection,
Upgrade and TE remain if a request asks for an upgrade, or for trailers."""
RETRY_STATUS = frozenset(str(status.value) for status in HTTPStatus if status.value >= HTTPStatus.BAD_REQUEST)
"""Istio accepts only statuses that have a name (pkg/config/validation, validateHTTPRetry)."""
RETRY_CONDITIONS = (*HTTP_RETRY, *CONNECTION_RETRY, *GRPC_RETRY, *sorted(RETRY_STATUS))
DNS_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LABEL_KEY = re.compile(r"(?:[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,256}")
TOKEN_ALLOWED = "1 to 256 letters, digits and !#$%&'*+.^_`|~-"  # noqa: S105 -- an HTTP token, no secret
_COUNT_MOST = 2**31 - 1
_QUERY_VALUE = re.compile(r"[A-Za-z0-9._~!$'()*,;:@/-]{0,500}")
_PATH = re.compile(r"(?:[-A-Za-z0-9/._~!$&'()*+,;=:@]|%[0-9a-fA-F]{2})+")
_PATH_SHAPE = "/[^?# ]*"
"""What an editor checks of a literal path; `path_fault` has all rules."""
_COOKIE_VALUE = re.compile(r"[!#-+\--:<-\[\]-~]*")
_GRPC_SERVICE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_GRPC_METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?)*")
_IN_CLUSTER = re.compile(r".*\.svc(?:\..*)?|.*\.cluster\.local")
_EGRESS_HOST = re.compile(r"(?:\*\.)?" + _HOST.pattern)


# Single values


def matching(pattern: re.Pattern[str], code: str, message: str, allowed: str) -> Checked:
    """Return the metadata of a text that a pattern matches as a whole."""

    def check(text: str) -> str:
        if not pattern.fullmatch(text):
            raise refused(code, message, allowed)
        return text

    return Checked(check, pattern.pattern)


def printable(longest: int) -> Any:
    """Return the metadata of a text of printable ASCII characters."""
    return Field(min_length=1, max_length=longest, pattern=PRINTABLE)


@dataclass(frozen=True)
class Cased:
    """Metadata of a choice of words: they may be written in upper or in lower case."""

    change: Callable[[str], str]

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_before_validator_function(self._changed, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        made = handler(schema)
        return {**made, "enum": [*made["enum"], *(word.swapcase() for word in made["enum"] if word)]}

    def _changed(self, value: object) -> object:
        return self.change(value) if isinstance(value, str) else value


def _duration(value: object) -> int:
    found = milliseconds(value) if isinstance(value, str) else None
    if found is None:
        allowed = "an integer of at most five digits and one unit of ms, s, m, h; from 1ms to 24h"
        message = "This is not a duration that every mesh reads the same."
        raise refused("MSH115", message, allowed, duration_remedy(value))
    return found


def _weight(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= FULL_WEIGHT:
        raise refused("MSH111", "This is not a whole percent.", f"an integer from 0 to {FULL_WEIGHT}")
    return value


def path_fault(path: str) -> str:
    """Return what is wrong with a literal path, or "", by the rules of the Gateway API v1.5.1 HTTPPathMatch."""
    if not path.startswith("/"):
        return "The path does not start with '/'."
    for part in ("//", "/./", "/../", "%2f", "%2F", "#", "?", " "):
        if part in path:
            return f"The path contains '{part}'."
    if path.endswith(("/.", "/..")):
        return "The path ends with '/.' or '/..'."
    if not _PATH.fullmatch(path):
        return "The path has a character that is not legal in one."
    read = canonical_path(path)
    return "" if read == path else f"Envoy reads the path as '{read}' before it compares."


def _literal_path(path: str) -> str:
    if fault := path_fault(path):
        raise refused("MSH118", fault, "a path that starts with '/', without '?', '#', '//', '/./' and '/../'")
    return path


def _path_prefix(prefix: str) -> str:
    # The Gateway API ignores a trailing slash of a prefix: whole segments count.
    return prefix.rstrip("/") or "/"


def _pattern(pattern: str) -> str:
    if fault := patterns.fault(pattern):
        raise refused("MSH120", fault, "what RE2 and Rust read the same, over ASCII; at most 500 characters")
    return pattern


def _condition(value: str | int) -> str:
    if str(value) not in RETRY_CONDITIONS:
        raise refused("MSH004", "The value is not in the allowed set.", known=RETRY_CONDITIONS)
    return str(value)


def _matched_header(name: str) -> str:
    if name.lower() == "host":
        message = "Linkerd sees no header Host in HTTP/2; the Service that is called is known by the route."
        raise refused("MSH119", message, "any other header")
    if name.lower() in NEVER_THERE:
        message = "It belongs to the connection: the proxies remove it before they look for a rule."
        raise refused("MSH119", message, "a header of the request")
    return name


def _changed_header(name: str) -> str:
    if name.lower() == "host":
        raise refused("MSH119", "The header Host can't be changed here.", remedy="Use 'rewrite' with 'host'.")
    return name


def _no_format_command(value: str) -> str:
    if "%" in value:
        raise refused("MSH004", "Envoy reads '%' as the start of a command.", "a value without '%'")
    return value


def _external_host(host: str) -> str:
    if not _EGRESS_HOST.fullmatch(host) or "." not in host or _IN_CLUSTER.fullmatch(host):
        raise refused("MSH006", "This is not a host outside the cluster.", "a DNS name with a dot; '*.' may lead it")
    if host.rpartition(".")[2].isdecimal():
        raise refused("MSH006", "Istio takes no address here, only a name.", "a DNS name with a dot")
    return host


def _fill_interval(interval: int) -> int:
    if interval < SHORTEST_FILL:
        raise refused("MSH005", "Envoy refills its bucket at most 20 times a second.", f"{SHORTEST_FILL}ms or more")
    return interval


def _latency_bound(bound: int) -> int:
    if bound not in LATENCY_BOUNDS:
        message = "The proxies of the meshes do not all count requests by this bound."
        raise refused("MSH602", message, one_of(map(duration_text, LATENCY_BOUNDS)))
    return bound


DnsLabel = Annotated[
    str, matching(DNS_LABEL, "MSH006", "This is not a DNS label.", "a DNS label: a-z, 0-9 and '-', at most 63")
]
LabelKey = Annotated[str, matching(_LABEL_KEY, "MSH006", "This is not a legal label key.", "a Kubernetes label key")]
LabelValue = Annotated[
    str, matching(_LABEL_VALUE, "MSH006", "This is not a legal label value.", "a Kubernetes label value")
]
Labels = Annotated[dict[LabelKey, LabelValue], Field(min_length=1)]
PortNumber = Annotated[int, Field(ge=1, le=65535)]
Count = Annotated[int, Field(ge=1, le=_COUNT_MOST)]
Percent = Annotated[float, Field(ge=0.0001, le=100, allow_inf_nan=False)]
"""Resolution of percentages in Envoy: a millionth."""
ObjectivePercent = Annotated[float, Field(ge=50, le=99.999, allow_inf_nan=False)]
"""100 would leave no request that may fail, and nothing to alert on before it is missed."""
Weight = Annotated[int, Field(ge=0, le=FULL_WEIGHT), BeforeValidator(_weight)]
Duration = Annotated[
    int, BeforeValidator(_duration, json_schema_input_type=Annotated[str, Field(pattern="^[0-9]{1,5}(ms|s|m|h)$")])
]
"""Milliseconds, written as an integer and one unit."""
AbsolutePath = Annotated[str, printable(1024), Checked(_literal_path, _PATH_SHAPE)]
Prefix = Annotated[str, printable(500), Checked(_literal_path, _PATH_SHAPE), AfterValidator(_path_prefix)]
Pattern = Annotated[str, printable(500), AfterValidator(_pattern)]
Host = Annotated[
    str, printable(253), matching(_HOST, "MSH006", "This is not a legal host name.", "a DNS name in lower case")
]
ExternalHost = Annotated[str, printable(LONGEST_EGRESS_HOST), AfterValidator(_external_host)]
Token = Annotated[str, matching(TOKEN, "MSH119", "This is not a legal name.", TOKEN_ALLOWED)]
CookieValue = Annotated[
    str,
    printable(128),
    matching(_COOKIE_VALUE, "MSH004", "A cookie can't have this value.", "no blanks, quotes, ',', ';'"),
]
_QUERY = matching(
    _QUERY_VALUE, "MSH004", "Envoy compares this encoded, Linkerd decoded.", "letters, digits and -._~!$'()*,;:@/"
)
QueryValue = Annotated[str, printable(500), _QUERY]
GrpcService = Annotated[
    str, printable(500), matching(_GRPC_SERVICE, "MSH004", "This is not a gRPC name.", "letters, digits, '_' and dots")
]
GrpcMethod = Annotated[
    str, printable(500), matching(_GRPC_METHOD, "MSH004", "This is not a gRPC name.", "letters, digits and '_'")
]
_changes = Field(min_length=1, max_length=MOST_CHANGES)
ChangedHeader = Annotated[Token, AfterValidator(_changed_header)]
HeaderValue = Annotated[str, printable(4096), AfterValidator(_no_format_command)]
Condition = Annotated[
    Annotated[str, TEXT, WithJsonSchema({"enum": list(RETRY_CONDITIONS)})]
    | Annotated[int, NUMBER, Field(ge=400, le=599)],
    BY_SHAPE,
    AfterValidator(_condition),
]


def unique(items: Mapping[str, Any] | Sequence[str] | None) -> Any:
    """Refuse duplicate list entries, and names in a mapping that differ only in case."""
    if items is None:
        return None
    named = isinstance(items, Mapping)
    entries: Iterable[tuple[int | str, str]] = ((name, name.lower()) for name in items) if named else enumerate(items)
    seen: dict[str, int | str] = {}
    repeated = [(place, entry) for place, entry in entries if seen.setdefault(entry, place) != place]
    refuse_all(((place,), refused("MSH012", f"'{entry}' is listed here already.")) for place, entry in repeated)
    return items


# Conditions of a rule


class TextForm(One):
    """How the value of a header is compared."""

    exact: Annotated[str | None, printable(4096)] = None
    """The whole value."""
    prefix: Annotated[str | None, printable(500)] = None
    """How the value begins."""
    regex: Pattern | None = None
    """A regular expression that matches the whole value."""
    present: Literal[True] | None = None
    """Any value will do."""


class PathForm(One):
    """How the path is compared."""

    exact: AbsolutePath | None = None
    """The whole path."""
    prefix: Prefix | None = None
    """How the path begins; whole segments count."""
    regex: Pattern | None = None
    """A regular expression that matches the whole path."""


class CookieForm(One):
    """How the value of a cookie is compared."""

    exact: CookieValue | None = None
    """The whole value."""
    prefix: CookieValue | None = None
    """How the value begins."""
    present: Literal[True] | None = None
    """Any value will do."""


class QueryForm(One):
    """How the value of a query parameter is compared."""

    exact: QueryValue | None = None
    """The whole value."""
    prefix: QueryValue | None = None
    """How the value begins."""
    regex: Pattern | None = None
    """A regular expression that matches the whole value."""
    present: Literal[True] | None = None
    """Any value will do."""


Path = Annotated[Annotated[AbsolutePath, TEXT] | Annotated[PathForm, MAPPING], BY_SHAPE]
Header = Annotated[Annotated[str, TEXT, printable(4096)] | Annotated[TextForm, MAPPING], BY_SHAPE]
Cookie = Annotated[Annotated[CookieValue, TEXT] | Annotated[CookieForm, MAPPING], BY_SHAPE]
Query = Annotated[Annotated[QueryValue, TEXT] | Annotated[QueryForm, MAPPING], BY_SHAPE]
MatchedHeader = Annotated[Token, AfterValidator(_matched_header)]
_conditions = Field(min_length=1, max_length=MOST_CONDITIONS)


def text_match(form: str | One) -> TextMatch:
    """Return the comparison of the model; a bare text is an exact match."""
    kind, value = ("exact", form) if isinstance(form, str) else form.one
    return TextMatch(cast("TextMatchKind", kind), "" if value is True else value)


class GrpcForm(Form):
    """A gRPC call."""

    service: GrpcService
    """The full name of the gRPC service."""
    method: GrpcMethod = ""
    """The method; all of the service without it."""


class MatchForm(Some):
    """A condition on a request; all parts must hold."""

    exclusive = tuple(("grpc", key, f"'grpc' takes the place of '{key}'.") for key in ("path", "method", "query"))

    path: Path | None = None
    """On the path, without the query. A text is compared exactly."""
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = None
    """The HTTP method."""
    headers: Annotated[dict[MatchedHeader, Header] | None, _conditions, AfterValidator(unique)] = None
    """Header -> comparison."""
    cookies: Annotated[dict[Token, Cookie] | None, Field(min_length=1, max_length=MOST_COOKIES)] = None
    """Cookie -> comparison."""
    query: Annotated[dict[Token, Query] | None, _conditions] = None
    """Query parameter -> comparison."""
    source: Labels | None = None
    """Labels of the calling workload."""
    source_namespace: DnsLabel = ""
    """Namespace of the calling workload."""
    grpc: GrpcForm | None = None
    """The gRPC service and method, in place of path and method."""

    def contradictions(self) -> Refusals:
        """See Form."""
        if self.cookies and any(name.lower() == "cookie" for name in self.headers or ()):
            yield (), inconsistent("MSH007", "'headers.cookie' and 'cookies' are both conditions on the header Cookie.")
        length = len(cookie_pattern(self.named("cookies"))) if self.cookies else 0
        if length > LONGEST_REGEX:
            message = f"Together the cookies make a regular expression of {length} characters."
            yield ("cookies",), inconsistent("MSH005", message, f"at most {LONGEST_REGEX} characters")

    def named(self, key: Literal["headers", "cookies", "query"]) -> tuple[tuple[str, TextMatch], ...]:
        """Return conditions by name; header names in lower case."""
        forms: dict[str, str | One] | None = getattr(self, key)
        if not forms:
            return ()
        return tuple(sorted((n.lower() if key == "headers" else n, text_match(form)) for n, form in forms.items()))


# Destinations


class DestinationForm(Form):
    """A version of the Service, or another Service."""

    version: str | None = None
    """A version of the Service."""
    service: str | None = None
    """Another Service."""
    namespace: str | None = None
    """The namespace of the other Service; that of the route without it."""
    port: PortNumber | None = None
    """The port of the other Service; not needed if it has one only."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        for key in ("namespace", "port"):
            if key in written and "service" not in written:
                remedy = f"Add 'service' or remove '{key}'."
                yield ("service",), inconsistent("MSH003", f"'{key}' needs 'service' beside it.", remedy=remedy)
        if "version" not in written and "service" not in written:
            yield (
                ("version",),
                inconsistent("MSH003", "Neither 'version' nor 'service' is set.", remedy="Add 'version'."),
            )


class BackendForm(DestinationForm):
    """A destination with its share of the requests."""

    weight: Weight | None = None
    """Percent; all weights of a rule sum to 100. Not needed for a single backend."""


def _full_weight(shares: dict[str, int] | list[BackendForm], info: ValidationInfo) -> Any:
    """Refuse missing weights and weights that do not sum to 100."""
    if is_partial(info):
        return shares
    if not shares:
        raise inconsistent("MSH112", "There is no backend.", "at least one version with a weight")
    if isinstance(shares, dict):
        weights: list[int] = list(shares.values())
    elif len(shares) == 1 and shares[0].weight is None:
        return shares
    else:
        missing = [index for index, backend in enumerate(shares) if backend.weight is None]
        refuse_all(((index, "weight"), inconsistent("MSH003", "The weight is missing.")) for index in missing)
        weights = [backend.weight or 0 for backend in shares]
    if sum(weights) != FULL_WEIGHT:
        message = f"The weights sum to {sum(weights)}, not to 100."
        raise inconsistent("MSH110", message, "integer percents that sum to 100")
    return shares


Backends = Annotated[
    Annotated[dict[str, Weight], MAPPING] | Annotated[list[BackendForm], LIST],
    BY_SHAPE,
    AfterValidator(_full_weight),
    Field(max_length=MOST_BACKENDS),
]


class MirrorForm(DestinationForm):
    """A destination that gets a copy of the requests; its answers are dropped."""

    percent: Percent = 100.0
    """The share of the requests that is copied."""


# Policies of a rule


class TimeoutForm(Some):
    """Limits of time."""

    request: Duration | None = None
    """For the request with all its attempts."""
    per_try: Duration | None = None
    """For each attempt."""


class RetryForm(Form):
    """Retries after the first attempt."""

    attempts: Annotated[int | None, Field(ge=0, le=10)] = None
    """The number of retries; 0 switches the mesh's own off."""
    conditions: Annotated[list[Condition] | None, Field(min_length=1, max_length=64), AfterValidator(unique)] = None
    """What is retried: a word such as `5xx` or `reset`, or a status such as 503."""
    backoff: Duration | None = None
    """The time before the first retry."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        if "attempts" not in written and "conditions" not in written:
            message = "Neither 'attempts' nor 'conditions' is set."
            yield ("attempts",), inconsistent("MSH003", message, remedy="Add 'attempts'.")

    def contradictions(self) -> Refusals:
        """See Form."""
        if self.attempts == 0 and (self.conditions or self.backoff):
            message = "Without attempts, 'conditions' and 'backoff' have no meaning; Istio rejects them."
            yield (), inconsistent("MSH121", message, remedy="Remove 'conditions' and 'backoff'.")


class DelayForm(Form):
    """A delay before the answer."""

    duration: Duration
    """How long."""
    percent: Percent
    """The share of the requests."""


class AbortForm(Form):
    """An HTTP status in place of an answer."""

    status: Annotated[int, Field(ge=200, le=599)]
    """The status."""
    percent: Percent
    """The share of the requests."""


class FaultForm(Some):
    """Faults injected on purpose."""

    delay: DelayForm | None = None
    """Answer late."""
    abort: AbortForm | None = None
    """Do not answer."""


class HeaderChangeForm(Some):
    """Changes of headers."""

    set: Annotated[dict[ChangedHeader, HeaderValue] | None, _changes, AfterValidator(unique)] = None
    """Replace the header, or add it."""
    add: Annotated[dict[ChangedHeader, HeaderValue] | None, _changes, AfterValidator(unique)] = None
    """Add a value to the header."""
    remove: Annotated[list[ChangedHeader] | None, _changes] = None
    """Remove the header."""

    def contradictions(self) -> Refusals:
        """See Form."""
        places: list[tuple[Location, str]] = []
        for key, names in (("set", self.set), ("add", self.add)):
            places += [((key, name), name) for name in names or ()]
        places += [(("remove", index), name) for index, name in enumerate(self.remove or ())]
        seen: dict[str, Location] = {}
        for location, name in places:
            if seen.setdefault(name.lower(), location) != location:
                message = f"The header '{name.lower()}' is changed twice; the order is not defined."
                yield location, inconsistent("MSH007", message)


class HeadersForm(Some):
    """Changes of headers."""

    request: HeaderChangeForm | None = None
    """Of the request."""
    response: HeaderChangeForm | None = None
    """Of the response."""


class RewriteForm(Some):
    """What the backend sees instead."""

    exclusive = (("path", "prefix", "Only one of 'path' and 'prefix' can replace the path."),)

    path: AbsolutePath = ""
    """In place of the whole path."""
    prefix: Prefix = ""
    """In place of the prefix that matched."""
    host: Host = ""
    """In place of the host."""


class RedirectForm(Some):
    """An answer that sends the client elsewhere. What is not set stays as it was called."""

    path: AbsolutePath = ""
    """The path of the new address."""
    host: Host = ""
    """The host of the new address."""
    scheme: Annotated[Literal["", "http", "https"], Cased(str.lower)] = ""
    """The scheme of the new address."""
    port: PortNumber = 0
    """The port of the new address; that of `scheme` without it."""
    status: Literal[301, 302, 303, 307, 308] = 302
    """The status of the answer."""


class RuleForm(Form):
    """One rule: the first rule that matches takes the request."""

    exclusive = (("backends", "redirect", "A redirect answers the request itself; the rule has no backends."),)

    name: DnsLabel | None = None
    """Unique in the route."""
    match: (
        Annotated[
            Annotated[MatchForm, MAPPING]
            | Annotated[list[MatchForm], LIST, Field(min_length=1, max_length=MOST_RULES)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """A condition, or a list of which any suffices. Without it, every request matches."""
    backends: Backends | None = None
    """Version -> percent, or a list of destinations. Without it, the whole Service."""
    timeout: Annotated[Annotated[Duration, TEXT] | Annotated[TimeoutForm, MAPPING], BY_SHAPE] | None = None
    """A limit for the request, or limits for the request and for each attempt."""
    retries: Annotated[Annotated[int, NUMBER, Field(ge=0, le=10)] | Annotated[RetryForm, MAPPING], BY_SHAPE] | None = (
        None
    )
    """The number of retries, or what is retried and how."""
    fault: FaultForm | None = None
    """Faults injected on purpose."""
    mirror: (
        Annotated[
            Annotated[MirrorForm, MAPPING]
            | Annotated[list[MirrorForm], LIST, Field(min_length=1, max_length=MOST_MIRRORS)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """A copy of the requests to another destination, or to several."""
    headers: HeadersForm | None = None
    """Changes of request and response headers."""
    rewrite: RewriteForm | None = None
    """What the backend sees instead."""
    redirect: RedirectForm | None = None
    """An answer that sends the client elsewhere."""


# Policies of a Service


class CircuitBreakerForm(Some):
    """When an endpoint is taken out, and how much a client may load a Service."""

    consecutive_errors: Count | None = None
    """Failures in a row that take an endpoint out."""
    ejection: Duration | None = None
    """How long it is out the first time."""
    max_ejection: Duration | None = None
    """The longest time that it is out."""
    interval: Duration | None = None
    """The time between two looks at the counters."""
    max_ejection_percent: Annotated[int | None, Field(ge=1, le=100)] = None
    """The share of the endpoints that may be out at once."""
    max_connections: Count | None = None
    """Connections to the Service."""
    max_pending_requests: Count | None = None
    """Requests that wait for a connection."""
    max_requests: Count | None = None
    """Requests that are under way."""
    max_requests_per_connection: Count | None = None
    """Requests of one connection."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        for key in ("ejection", "maxEjection", "interval", "maxEjectionPercent"):
            if key in written and "consecutiveErrors" not in written:
                yield (key,), inconsistent("MSH122", f"'{key}' has no effect without 'consecutiveErrors'.")

    def contradictions(self) -> Refusals:
        """See Form."""
        if self.ejection and self.max_ejection and self.ejection > self.max_ejection:
            yield ("maxEjection",), inconsistent("MSH122", "'maxEjection' is shorter than 'ejection'.")


class SessionCookieForm(Form):
    """A cookie that the proxy sets."""

    name: Token
    """The name of the cookie."""
    ttl: Duration = 0
    """How long the cookie lives; until the browser closes without it."""
    path: AbsolutePath = ""
    """The path of the cookie."""


class SessionAffinityForm(One):
    """What requests have in common that go to one endpoint."""

    cookie: SessionCookieForm | None = None
    """A cookie."""
    header: Token | None = None
    """The name of a header."""
    query: Token | None = None
    """The name of a query parameter."""
    source_ip: Literal[True] | None = None
    """The address of the client."""


class RateLimitForm(Form):
    """Requests that each pod of the Service answers; the rest gets 429."""

    requests: Annotated[int, Field(ge=1, le=MOST_REQUESTS)]
    """Requests in an interval."""
    per: Annotated[Duration, AfterValidator(_fill_interval)] = 1000
    """The interval."""
    burst: Count | None = None
    """Requests that may come at once; `requests` without it."""

    def contradictions(self) -> Refusals:
        """See Form."""
        if self.burst and self.burst < self.requests:
            message = "The burst is smaller than the requests of one interval."
            yield ("burst",), inconsistent("MSH005", message, f"{self.requests} or more")


class RetryBudgetForm(Form):
    """Retries as a share of the active requests."""

    percent: Percent
    """The share."""
    min_retries: Count | None = None
    """Retries that are allowed anyway. Istio reads 0 as its default, so it is not taken."""
    ttl: Duration | None = None
    """The time that Linkerd looks back."""


class LatencyObjectiveForm(Form):
    """How fast requests are answered."""

    p: ObjectivePercent
    """Percent of the requests."""
    below: Annotated[Duration, AfterValidator(_latency_bound)]
    """The time in which they are answered."""


class ObjectiveForm(Form):
    """What callers of a Service can rely on, over 30 days."""

    success: ObjectivePercent | None = None
    """Percent of the requests that do not fail: no 5xx, no failed gRPC status, and an answer at all."""
    latency: LatencyObjectiveForm | None = None
    """How fast requests are answered."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        if not written:
            yield (), inconsistent("MSH003", "The objective says nothing.", "'success' or 'latency'")


class EgressForm(Form):
    """A destination outside the mesh."""

    host: ExternalHost
    """A DNS name; `*.` may lead it."""
    port: PortNumber
    """The port."""
    protocol: Annotated[Literal["HTTP", "HTTPS", "TLS", "TCP"], Cased(str.upper)]
    """What is spoken there."""


# The route


class PortForm(Form):
    """A port of a Service of your own."""

    number: PortNumber
    """The port of the Service."""
    protocol: Annotated[Literal["", "http", "http2", "grpc", "https", "tls", "tcp"], Cased(str.lower)] = ""
    """What is spoken there."""
    target_port: PortNumber = 0
    """The port of the pods; the same without it."""


def unique_by(*fields: str) -> AfterValidator:
    """Refuse list entries with equal values of the fields."""

    def check(items: Sequence[Form] | None) -> Sequence[Form] | None:
        unique([":".join(str(getattr(item, field)) for field in fields) for item in items or ()])
        return items

    return AfterValidator(check)


_hosts = Field(min_length=1, max_length=MOST_HOSTS)


class RouteForm(Form):
    """All that is declared for the traffic to one Service."""

    exclusive = (
        ("split", "rules", "'split' is the short form of 'rules'; only one of them may be set."),
        ("loadBalancing", "sessionAffinity", "Session affinity is itself a way of load balancing (a consistent hash)."),
    )
    service: DnsLabel | None = None
    """The Service; the key of the route without it."""
    namespace: DnsLabel | None = None
    """The namespace of the Service; needed if several have one of this name, and for a Service of your own."""
    port: PortNumber | None = None
    """The port; not needed if the Service has one only."""
    ports: Annotated[list[PortForm] | None, Field(min_length=1, max_length=MOST_RULES), unique_by("number")] = None
    """The ports of a Service of your own."""
    versions: dict[DnsLabel, Labels] | None = None
    """The versions of a Service of your own: name -> labels of the pods."""
    selector: Labels | None = None
    """The labels that a Service of your own selects."""
    headless: bool = False
    """True if a Service of your own has no cluster IP."""
    api: Literal["auto", "istio", "gateway-api", "service-profile"] = "auto"
    """The API that the route is compiled to."""
    split: Backends | None = None
    """Version -> percent: the short form of one rule."""
    rules: Annotated[list[RuleForm] | None, Field(min_length=1, max_length=MOST_RULES)] = None
    """The rules, in order."""
    circuit_breaker: CircuitBreakerForm | None = None
    """When an endpoint is taken out, and how much a client may load the Service."""
    load_balancing: Literal["round-robin", "least-request", "random"] | None = None
    """How an endpoint is chosen."""
    session_affinity: SessionAffinityForm | None = None
    """What requests have in common that go to one endpoint."""
    rate_limit: RateLimitForm | None = None
    """Requests that each pod of the Service answers."""
    retry_budget: RetryBudgetForm | None = None
    """Retries as a share of the active requests."""
    slo: ObjectiveForm | None = None
    """What callers can rely on; alerts are made from it."""
    egress: Annotated[list[EgressForm] | None, Field(min_length=1, max_length=64), unique_by("host", "port")] = None
    """Hosts outside the mesh that the workloads of the namespace may call."""
    gateway: DnsLabel | None = None
    """The gateway by which callers outside of the cluster reach the Service; not needed with `hosts` if there is one
    only."""
    hosts: Annotated[list[PublicHost] | None, _hosts, AfterValidator(unique)] = None
    """The hosts that they use; every host of the gateway without it."""
    paths: Annotated[list[Path] | None, Field(min_length=1, max_length=MOST_PATHS)] = None
    """The paths that the gateway takes for the Service; every path without it. A text is compared exactly."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        yield from super().conflicts(written)
        policies = ("circuitBreaker", "loadBalancing", "sessionAffinity", "rateLimit", "retryBudget", "egress", "slo")
        if not any(key in written for key in ("split", "rules", "gateway", "hosts", *policies)):
            allowed, remedy = "'split', 'rules', 'hosts' or a policy", "Add 'split', such as {v1: 90, v2: 10}."
            yield (), inconsistent("MSH003", "The route declares nothing.", allowed, remedy)
        if "paths" in written and "gateway" not in written and "hosts" not in written:
            yield (
                ("paths",),
                inconsistent("MSH411", "No gateway takes these paths."),
            )
