"""The raw form of `meshup:security` as pydantic models: types, ranges, choices and names.

parse.py resolves these to the model (model.py), where names are Services, ports and accounts. Entries of lists that are
resolved have no required field, so that a faulty one keeps its place: what is missing, `conflicts` says.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field
from typing_extensions import TypeAliasType

from ..diagnostics.validation import (
    BY_SHAPE,
    LIST,
    MAPPING,
    NUMBER,
    TEXT,
    Form,
    One,
    Refusals,
    Some,
    inconsistent,
    refused,
)
from ..traffic.grammar import (
    DNS_LABEL,
    MOST_CONDITIONS,
    MOST_RULES,
    AbsolutePath,
    Cased,
    DnsLabel,
    ExternalHost,
    GrpcForm,
    Host,
    Labels,
    MatchedHeader,
    PortForm,
    PortNumber,
    Prefix,
    Token,
    matching,
    path_fault,
    printable,
    unique,
    unique_by,
)
from .paths import template

MOST_VALUES = 64
"""Entries of a list of one condition: methods, paths, hosts, values of a claim."""
MOST_SERVICES = 2000
LONGEST_URL = 2048
"""Istio's webhook refuses a longer jwksUri (1.30.3, pkg/config/validation)."""
LONGEST_REASON = 500
_SUBDOMAIN = r"[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
_ACCOUNT = re.compile(rf"(?:{DNS_LABEL.pattern}/)?(?=.{{1,253}}$){_SUBDOMAIN}")
_SPIFFE = re.compile(r"(?:spiffe://)?(?P<domain>[^/]+)/ns/(?P<namespace>[^/]+)/sa/(?P<name>[^/]+)")
_DNS_IDENTITY = re.compile(r"(?P<name>[^/]+)\.(?P<namespace>[^./]+)\.serviceaccount\.identity\..*")
_SERVICE = re.compile(rf"{DNS_LABEL.pattern}(?:\.{DNS_LABEL.pattern})?")
_HOST = re.compile(rf"(?=.{{1,253}}$)(?:\*\.)?{DNS_LABEL.pattern}(?:\.{DNS_LABEL.pattern})*")
_HOST_WITH_PORT = re.compile(r"(?P<host>.+):[0-9*]+")
_DATE = re.compile(r"(?P<day>[0-9]{4}-[0-9]{2}-[0-9]{2})(?:T00:00:00Z| 00:00:00 \+0000 UTC)?")
_CLAIM = re.compile(r"[!-Z\\^-~]{1,256}")
_TEMPLATE_SHAPE = "/[^?# ]*"


# Single values


def _account(text: str) -> str:
    if found := _SPIFFE.fullmatch(text) or _DNS_IDENTITY.fullmatch(text):
        written = f"{found['namespace']}/{found['name']}"
        message = "This is an identity as a mesh writes it; meshup derives it from the account, for either mesh."
        raise refused("MSH504", message, "NAME, or NAMESPACE/NAME", f"Write '{written}'.")
    if not _ACCOUNT.fullmatch(text):
        raise refused("MSH504", "This is not the name of a service account.", "NAME, or NAMESPACE/NAME")
    return text


def network_fault(text: str) -> str:
    """Return what is wrong with a network in CIDR notation, or ""."""
    if "/" not in text:
        return "The length of the prefix is missing."
    try:
        ipaddress.ip_network(text)
    except ValueError:
        try:
            return f"It has bits behind its prefix; the network is {ipaddress.ip_network(text, strict=False)}."
        except ValueError:
            return "This is not a network."
    return ""


def _network(text: str) -> str:
    if fault := network_fault(text):
        raise refused("MSH505", fault, "a network such as 10.0.0.0/8 or fd00::/8, 10.1.2.3/32 for one address")
    return str(ipaddress.ip_network(text))


def _no_star(text: str) -> str:
    if "*" in text:
        allowed = "'{exact: ...}', '{prefix: ...}' by whole segments, or '{template: /a/{*}/b}'"
        raise refused("MSH512", "A star in a path stands for itself, and Istio reads it as a wildcard.", allowed)
    return text


def _star_inside(text: str) -> str:
    if text.startswith("*") or text.endswith("*"):
        raise refused("MSH512", "Istio reads a star at an end as a wildcard.", "a value without a star at its ends")
    return text


def _template(text: str) -> str:
    pattern = template(text) if text.startswith("/") else None
    parts = text.split("/")[1:]
    if pattern is None:
        raise refused("MSH118", "The path does not start with '/'.")
    if "{**}" in parts[:-1]:
        raise refused("MSH118", "'{**}' takes all that follows.", "'{**}' as the last segment only")
    # What is not an operator is compared as it is written.
    if fault := path_fault("/".join(["", *("x" if part in ("{*}", "{**}") else part for part in parts)])):
        allowed = "whole segments that are text, '{*}' for one segment, or '{**}' at the end"
        raise refused("MSH118", fault, allowed)
    return _no_star_outside(text, parts)


def _no_star_outside(text: str, parts: Iterable[str]) -> str:
    for part in parts:
        if part not in ("{*}", "{**}"):
            _no_star(part)
    return text


def _host(text: str) -> str:
    if found := _HOST_WITH_PORT.fullmatch(text):
        message = "The port is not part of the host: meshup compares the host with and without it."
        raise refused("MSH513", message, remedy=f"Write '{found['host']}', and the port as 'port'.")
    if not _HOST.fullmatch(text):
        raise refused("MSH006", "This is not a host.", "a DNS name in lower case, or '*.' and one")
    return text


def _day(value: object) -> date:
    # Pulumi's YAML reader makes a time of a day that is not quoted, and writes it in one of these forms.
    found = _DATE.fullmatch(value) if isinstance(value, str) else None
    try:
        return date.fromisoformat(found["day"] if found else "")
    except ValueError:
        raise refused("MSH004", "This is not a day.", "a day such as 2027-03-31") from None


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and not parts.fragment and parts.port != 0
        plain = parts.username is None
    except ValueError:
        valid = plain = False
    if not valid or not plain:
        raise refused("MSH017", "The control plane can't fetch keys from there.", "an http or https URL of keys")
    return text


Account = Annotated[str, AfterValidator(_account)]
ServiceName = Annotated[
    str, matching(_SERVICE, "MSH006", "This is not the name of a Service.", "NAME, or NAME.NAMESPACE")
]
Cidr = Annotated[str, AfterValidator(_network)]
Reason = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON)]
Day = Annotated[
    date, BeforeValidator(_day, json_schema_input_type=Annotated[str, Field(json_schema_extra={"format": "date"})])
]
ExactPath = Annotated[AbsolutePath, AfterValidator(_no_star)]
PrefixPath = Annotated[Prefix, AfterValidator(_no_star)]
TemplatePath = Annotated[
    str, printable(500), Field(json_schema_extra={"pattern": f"^({_TEMPLATE_SHAPE})$"}), AfterValidator(_template)
]
HeaderText = Annotated[str, printable(4096), AfterValidator(_star_inside)]
MatchedHost = Annotated[str, AfterValidator(_host)]
ClaimName = Annotated[
    str, matching(_CLAIM, "MSH004", "This is not the name of a claim.", "printable characters without brackets")
]
ClaimValue = Annotated[str, printable(1024), AfterValidator(_star_inside)]
Issuer = Annotated[str, printable(1024), AfterValidator(_star_inside)]
Url = Annotated[str, printable(LONGEST_URL), AfterValidator(_url)]
_some_values = Field(min_length=1, max_length=MOST_VALUES)


# Rules


class HeaderForm(One):
    """How the value of a header is compared."""

    exact: HeaderText | None = None
    """The whole value."""
    prefix: HeaderText | None = None
    """How the value begins."""
    present: Literal[True] | None = None
    """Any value will do."""


class AccessPathForm(One):
    """How the path is compared."""

    exact: ExactPath | None = None
    """The whole path."""
    prefix: PrefixPath | None = None
    """How the path begins; whole segments count."""
    template: TemplatePath | None = None
    """Segments, of which `{*}` is any one, and `{**}` at the end whatever follows."""


Path = Annotated[Annotated[ExactPath, TEXT] | Annotated[AccessPathForm, MAPPING], BY_SHAPE]
Header = Annotated[Annotated[HeaderText, TEXT] | Annotated[HeaderForm, MAPPING], BY_SHAPE]
if TYPE_CHECKING:
    Claims = dict[str, Any]  # A type that names itself is known to the checker in part only.
else:
    Claims = TypeAliasType(
        "Claims",
        Annotated[
            dict[
                ClaimName,
                Annotated[
                    Annotated[ClaimValue, TEXT]
                    | Annotated[list[ClaimValue], LIST, _some_values]
                    | Annotated["Claims", MAPPING],
                    BY_SHAPE,
                ],
            ],
            Field(min_length=1, max_length=MOST_CONDITIONS),
        ],
    )
"""Claim -> one value, several of which one suffices, or the claims below it."""


class SourceForm(Some):
    """Callers. All that is set must hold."""

    exclusive = (
        *(
            (one, other, f"'{one}' and '{other}' are both who the caller is.")
            for number, one in enumerate(("serviceAccount", "namespace", "gateway", "mesh"))
            for other in ("serviceAccount", "namespace", "gateway", "mesh")[number + 1 :]
        ),
        *((key, "trustDomain", f"'{key}' is in the trust domain of the mesh.") for key in ("namespace", "gateway")),
        ("mesh", "trustDomain", "'mesh' is whoever has an identity, of whatever trust domain."),
        *(
            ("everybody", key, "'everybody' is every caller; nothing can stand beside it.")
            for key in ("serviceAccount", "namespace", "gateway", "mesh", "trustDomain", "cidr", "except")
        ),
    )
    service_account: Account | None = None
    """A service account: of the namespace of the Service, or NAMESPACE/NAME."""
    namespace: DnsLabel | None = None
    """All service accounts of a namespace."""
    gateway: DnsLabel | None = None
    """A gateway of `meshup:gateways`."""
    trust_domain: Host | None = None
    """Another trust domain: all of it, or with `serviceAccount` that account there."""
    cidr: Cidr | None = None
    """Addresses. Callers need no identity, unless one is named beside it."""
    except_: Annotated[list[Cidr] | None, Field(alias="except"), _some_values, AfterValidator(unique)] = None
    """Parts of `cidr` that are not meant."""
    mesh: Literal[True] | None = None
    """Whoever has an identity."""
    everybody: Literal[True] | None = None
    """Everybody, with or without an identity."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        yield from super().conflicts(written)
        if "except" in written and "cidr" not in written and "everybody" not in written:
            yield ("except",), inconsistent("MSH003", "'except' needs 'cidr' beside it.", remedy="Add 'cidr'.")

    def contradictions(self) -> Refusals:
        """See Form."""
        if self.trust_domain and self.service_account and "/" not in self.service_account:
            message = "The namespace of an account of another trust domain is missing."
            yield ("serviceAccount",), inconsistent("MSH504", message, "NAMESPACE/NAME")
        outer = ipaddress.ip_network(self.cidr) if self.cidr else None
        for number, text in enumerate(self.except_ or () if outer else ()):
            inner: Any = ipaddress.ip_network(text)
            if outer and (inner.version != outer.version or not inner.subnet_of(outer) or inner == outer):
                message = f"This is no part of {outer}." if inner != outer else "This is the whole network."
                yield ("except", number), inconsistent("MSH506", message)


class OperationForm(Some):
    """What is asked of a Service. All that is set must hold."""

    exclusive = tuple(("grpc", key, f"'grpc' takes the place of '{key}'.") for key in ("methods", "paths"))

    port: PortNumber | None = None
    """A port of the Service; all of them without it."""
    methods: Annotated[
        list[Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"]] | None,
        _some_values,
        AfterValidator(unique),
    ] = None
    """HTTP methods."""
    paths: Annotated[list[Path] | None, _some_values] = None
    """Paths, without the query. A text is compared exactly."""
    headers: Annotated[
        dict[MatchedHeader, Header] | None, Field(min_length=1, max_length=MOST_CONDITIONS), AfterValidator(unique)
    ] = None
    """Header -> comparison. A text is the whole value."""
    hosts: Annotated[list[MatchedHost] | None, _some_values, AfterValidator(unique)] = None
    """Hosts that are called, without the port. `*.` in front takes all names below."""
    grpc: GrpcForm | None = None
    """A gRPC service, or one of its methods, in place of methods and paths."""


class AccessRuleForm(Form):
    """Callers, and what they may ask for."""

    from_: Annotated[
        Annotated[
            Annotated[SourceForm, MAPPING]
            | Annotated[list[SourceForm], LIST, Field(min_length=1, max_length=MOST_VALUES)],
            BY_SHAPE,
        ]
        | None,
        Field(alias="from"),
    ] = None
    """The callers, any of these."""
    to: (
        Annotated[
            Annotated[OperationForm, MAPPING]
            | Annotated[list[OperationForm], LIST, Field(min_length=1, max_length=MOST_VALUES)],
            BY_SHAPE,
        ]
        | None
    ) = None
    """What they ask for, any of these; everything without it."""
    claims: Claims | None = None
    """Conditions on the token of the request, all of them."""
    audit: bool = False
    """Only count what the rule takes."""
    reason: Reason | None = None
    """Why the rule is so wide. Needed in prod for `everybody` and `mesh`."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        if "from" not in written:
            remedy = "Add 'from', such as [{serviceAccount: NAME}], or [{everybody: true}] if everybody is meant."
            yield ("from",), inconsistent("MSH003", "Nobody is named as a caller.", remedy=remedy)


Rules = dict[
    ServiceName,
    Annotated[
        Annotated[AccessRuleForm, MAPPING]
        | Annotated[list[AccessRuleForm], LIST, Field(min_length=1, max_length=MOST_RULES)],
        BY_SHAPE,
    ],
]


# Tokens


class JwtForm(Form):
    """Tokens of one issuer."""

    issuer: Issuer | None = None
    """The claim `iss`. Required."""
    audiences: Annotated[list[Issuer] | None, _some_values, AfterValidator(unique)] = None
    """The claim `aud` has one of these; any without it."""
    jwks: Annotated[Annotated[str, TEXT] | Annotated[dict[str, Any], MAPPING], BY_SHAPE] | None = None
    """The public keys: a JSON Web Key Set (RFC 7517), as text or as a mapping."""
    jwks_uri: Url | None = None
    """Where the control plane fetches them."""
    headers: Annotated[
        dict[Token, Annotated[str, Field(max_length=64, pattern="^[ -~]*$")]] | None,
        Field(min_length=1, max_length=MOST_CONDITIONS),
        AfterValidator(unique),
    ] = None
    """Header -> what stands before the token in it. Without it, `Authorization: Bearer TOKEN`."""
    forward: bool = False
    """Whether the workload gets the token too."""
    require: bool = False
    """Whether each request must have a token."""
    claims: Claims | None = None
    """Conditions on the claims of the token that is required."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form. Nothing here is located at the mapping itself: a report would show the keys in it."""
        if "issuer" not in written:
            yield ("issuer",), inconsistent("MSH003", "The key 'issuer' is missing.")
        if "jwks" in written and "jwksUri" in written:
            yield ("jwksUri",), inconsistent("MSH007", "The keys stand in 'jwks' already.", "jwks or jwksUri")
        if "jwks" not in written and "jwksUri" not in written:
            yield ("jwks",), inconsistent("MSH003", "The public keys are missing.", remedy="Add 'jwks' or 'jwksUri'.")
        if "claims" in written and written.get("require") is not True:
            message = "Without 'require: true', a request without a token passes, whatever its claims must be."
            yield ("claims",), inconsistent("MSH003", message, remedy="Add 'require: true'.")


class AuthenticationForm(Form):
    """The tokens that a Service reads."""

    jwt: Annotated[
        Annotated[JwtForm, MAPPING] | Annotated[list[JwtForm], LIST, Field(min_length=1, max_length=MOST_VALUES)],
        BY_SHAPE,
    ]
    """Issuers."""


# Mutual TLS


class ExceptionForm(Form):
    """Another mode of mutual TLS than that of the mesh."""

    namespace: DnsLabel | None = None
    """The namespace. Required."""
    service: DnsLabel | None = None
    """A Service there; all pods of the namespace without it."""
    port: PortNumber | None = None
    """A port of that Service; all of them without it."""
    mode: Literal["strict", "permissive", "disable"] | None = None
    """`strict` refuses plain text, `permissive` takes both, `disable` takes plain text only. Required."""
    until: Day | None = None
    """The last day on which it holds."""
    reason: Reason | None = None
    """Why. Needed in prod, unless the mode is strict."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        for key in ("namespace", "mode"):
            if key not in written:
                yield (key,), inconsistent("MSH003", f"The key '{key}' is missing.")
        if "port" in written and "service" not in written:
            message = "'port' needs 'service' beside it."
            yield ("service",), inconsistent("MSH003", message, remedy="Add 'service' or remove 'port'.")


class MtlsForm(Some):
    """Mutual TLS."""

    mode: Literal["strict", "permissive"] | None = None
    """That of the whole mesh: `meshup:mtls`, said here."""
    reason: Reason | None = None
    """Why the mesh is permissive. Needed in prod."""
    exceptions: Annotated[list[ExceptionForm] | None, Field(min_length=1, max_length=MOST_SERVICES)] = None
    """Where it is another one."""


# Namespaces


class EgressHostForm(Form):
    """A host outside of the cluster."""

    host: ExternalHost
    """A DNS name; `*.` may lead it."""
    port: PortNumber
    """The port."""
    protocol: Annotated[Literal["HTTP", "HTTPS", "TCP"], Cased(str.upper)]
    """`HTTPS` is TLS by its server name."""


class NamespaceEgressForm(Form):
    """Calls to the outside of the cluster."""

    default: Literal["open", "deny"]
    """What becomes of calls to everything else."""
    hosts: Annotated[list[EgressHostForm] | None, _some_values, unique_by("host", "port")] = None
    """Hosts that are open."""
    cidrs: Annotated[list[Cidr] | None, _some_values, AfterValidator(unique)] = None
    """Addresses that are open, on every port."""

    @classmethod
    def conflicts(cls, written: Mapping[str, Any]) -> Refusals:
        """See Form."""
        for key in ("hosts", "cidrs"):
            if key in written and written.get("default") == "open":
                yield (key,), inconsistent("MSH007", "Everything is open, so it has no effect.", "'default: deny'")


class NamespaceForm(Some):
    """The policy of a namespace."""

    default: Literal["open", "audit", "deny"] = "open"
    """What becomes of requests that no rule allows. `audit` lets them in and counts them."""
    egress: NamespaceEgressForm | None = None
    """Calls to the outside; as the mesh has them without it."""
    network_policy: bool = False
    """Whether NetworkPolicies repeat the rules below the mesh."""


class ServiceForm(Form):
    """A Service that neither an application nor `meshup:traffic` describes."""

    namespace: DnsLabel | None = None
    """Its namespace, unless its key is NAME.NAMESPACE."""
    ports: Annotated[
        list[Annotated[Annotated[PortNumber, NUMBER] | Annotated[PortForm, MAPPING], BY_SHAPE]],
        Field(min_length=1, max_length=MOST_RULES),
    ]
    """Its ports: numbers, or with protocol and the port of the pods."""
    selector: Labels
    """The labels that it selects."""


class SecurityForm(Form):
    """Who may do what."""

    mtls: MtlsForm | None = None
    """Mutual TLS."""
    namespaces: dict[DnsLabel, NamespaceForm] | None = None
    """The policies of namespaces, by name."""
    preset: (
        Annotated[Annotated[str, TEXT] | Annotated[list[str], _some_values, AfterValidator(unique), LIST], BY_SHAPE]
        | None
    ) = None
    """Sample applications of the stack whose calls are allowed, exactly."""
    services: dict[ServiceName, ServiceForm] | None = None
    """Services that neither an application nor `meshup:traffic` describes, by name."""
    allow: Rules | None = None
    """Service -> who may call it. All others may not, from the first rule on."""
    deny: Rules | None = None
    """Service -> who may not call it, whatever `allow` says."""
    authentication: dict[ServiceName, AuthenticationForm] | None = None
    """Service -> the tokens that it reads."""
