"""Types of single configuration values, as Kubernetes, the charts and the proxies accept them, with sources.

Values that one of them would ignore with a log line, or refuse during a deployment, are refused here.
"""

import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from kubernetes.utils import quantity as kubernetes_quantity

from .diagnostics.validation import Checked, refused

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
EXACT_VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})(-[0-9A-Za-z.-]{1,64})?", re.ASCII)
_DNS_NAME = re.compile(rf"{DNS_LABEL.pattern}(\.{DNS_LABEL.pattern})*")
_QUALIFIED_NAME = re.compile(rf"({_DNS_NAME.pattern}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?")
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?")
_IMAGE_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_HOST_LABEL = r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?"
_REGISTRY = re.compile(
    rf"(({_HOST_LABEL}(\.{_HOST_LABEL})*|\[[0-9a-fA-F:]+\])(:[0-9]{{1,5}})?(/(?=.)|$))?"
    r"([a-z0-9]+(([._]|__|-+)[a-z0-9]+)*(/[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*)*)?/?"
)
"""A host and a path, or either (github.com/distribution/reference v0.6.0, regexp.go)."""
_QUANTITY = re.compile(r"([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]{1,2})?")
"""apimachinery 0.36, pkg/api/resource/quantity.go; a sign makes no sense here."""
_PORT = re.compile(r"[1-9][0-9]{0,4}")
_PROXY_LEVEL = r"(?i:trace|debug|info|warn|error|off|[0-5])"
_DIRECTIVE = re.compile(rf"{_PROXY_LEVEL}|([\w:.-]+|(?=\[))(\[[^\[\],=\"]*\])?={_PROXY_LEVEL}", re.ASCII)
_NO_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|(?<!\\)(?:\\\\)*\\[1-9]|(?<!\\)[*+?}]\+")
_MOST_PORT = 65535
_LONGEST_PATH = 4095
_LONGEST_PATH_PART = 255
_LONGEST_DNS_NAME = 253
_LONGEST_LABEL = 63
_LONGEST_RELEASE = 53
"""Helm, pkg/chart/v2/lint/rules and pkg/chartutil/validate_name.go."""
_LONGEST_URL = 2048
_LONGEST_PATTERN = 1024


def _dns_label(value: str) -> str:
    if not DNS_LABEL.fullmatch(value):
        raise refused("MSH006", "This is not a DNS label.")
    return value


def _dns_subdomain(value: str) -> str:
    if len(value) > _LONGEST_DNS_NAME or not _DNS_NAME.fullmatch(value):
        allowed = "DNS labels with dots, at most 253 characters"
        raise refused("MSH006", "This is not a DNS subdomain.", allowed, "Use the name of a Secret.")
    return value


def _annotation_key(value: str) -> str:
    if not _QUALIFIED_NAME.fullmatch(value) or len(value.rpartition("/")[0]) > _LONGEST_DNS_NAME:
        raise refused("MSH006", "This is not a key of an annotation.", "NAME, or DOMAIN/NAME")
    return value


def _label_value(value: str) -> str:
    if len(value) > _LONGEST_LABEL or not _LABEL_VALUE.fullmatch(value):
        allowed = f"at most {_LONGEST_LABEL} letters, digits, '-', '_' and '.', first and last no mark"
        raise refused("MSH006", "This is not the value of a label.", allowed)
    return value


def _release(value: str) -> str:
    # A Service has the same name, and before Kubernetes 1.36 the name of a Service begins with a letter.
    if not DNS_LABEL.fullmatch(value) or len(value) > _LONGEST_RELEASE or not value[0].isalpha():
        allowed = f"a DNS label that begins with a letter, at most {_LONGEST_RELEASE} characters"
        raise refused("MSH006", "Helm and Kubernetes do not take this as the name of a release and a Service.", allowed)
    return value


def _revision(value: str) -> str:
    longest = _LONGEST_RELEASE - len("istiod-")
    if not DNS_LABEL.fullmatch(value) or len(value) > longest:
        message = "This is not a revision: Helm names the release istiod-REVISION."
        raise refused("MSH006", message, f"a DNS label of at most {longest} characters")
    return value


def _exact_version(value: str) -> str:
    if not value:
        raise refused("MSH003", "The version is empty.", "three numbers, such as 1.30.3")
    if not EXACT_VERSION.fullmatch(value):
        raise refused("MSH010", "This is not an exact version.", "MAJOR.MINOR.PATCH")
    return value


def _not_empty(value: str) -> str:
    if not value.strip():
        raise refused("MSH003", "The value is empty.", "text that is not empty")
    return value


def _path(value: str) -> str:
    _not_empty(value)
    if not value.isprintable():
        raise refused("MSH013", "The path has a character that is not printable.", "a path of printable characters")
    parts = [part.encode() for part in value.split("/")]
    if len(value.encode()) > _LONGEST_PATH or max(map(len, parts)) > _LONGEST_PATH_PART:
        allowed = f"at most {_LONGEST_PATH} bytes, and {_LONGEST_PATH_PART} in each part"
        raise refused("MSH013", "The path is longer than any file system takes.", allowed)
    return value


def _image_tag(value: str) -> str:
    if not _IMAGE_TAG.fullmatch(value):
        allowed = "at most 128 letters, digits, '.', '_' and '-', the first one no '.' and no '-'"
        raise refused("MSH004", "This is not an image tag.", allowed)
    return value


def _registry(value: str) -> str:
    _not_empty(value)
    if len(value) > _LONGEST_PATH_PART or not _REGISTRY.fullmatch(value) or value.startswith("/"):
        allowed = "HOST[:PORT]/PATH, without https:// and without a tag; a path has no capital letters"
        raise refused("MSH016", "This is not a registry or a path in one.", allowed)
    return value.rstrip("/")


def _url(value: str, schemes: tuple[str, ...]) -> str:
    """Return what is wrong with a URL, or ""."""
    try:
        parts = urlsplit(value)
        port, host = parts.port, parts.hostname or ""
    except ValueError as error:
        return f"This is not a URL: {str(error)[:80]}."
    if not value.isascii() or not value.isprintable() or " " in value or len(value) > _LONGEST_URL:
        return "A URL has no blanks and only printable ASCII characters."
    if parts.scheme not in schemes or not host:
        return "This is not a URL with a scheme that is allowed, and a host."
    if port == 0 or not _is_host(host):
        return "The host or the port of the URL is not one."
    return ""


def _is_host(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return len(host) <= _LONGEST_DNS_NAME and bool(_DNS_NAME.fullmatch(host.lower()))
    return "%" not in host


def _repository(value: str) -> str:
    allowed = "https://HOST/PATH or oci://HOST/PATH"
    if "@" in value:
        fault = "The address holds credentials, which would show in the state of the stack."
        raise refused("MSH305", fault, allowed, secret=True)
    fault = _url(value, ("https", "http", "oci"))
    if not fault and ("?" in value or "#" in value):
        fault = "The address of a chart repository has no query and no fragment."
    if fault:
        raise refused("MSH305", fault, allowed)
    return value


def _http_url(value: str) -> str:
    if fault := _url(value, ("https", "http")):
        raise refused("MSH017", fault, "http://HOST:PORT/PATH")
    return value


def _server_url(value: str) -> str:
    """Not shown if it may hold a password or a token: a user part, a query or a fragment."""
    if any(character in value for character in "@?#"):
        message = "The address has a user, a query or a fragment, which may hold a password or a token."
        raise refused("MSH621", message, "https://HOST:PORT/PATH", secret=True)
    return _http_url(value).rstrip("/")


def _endpoint(value: str) -> str:
    """linkerd2-proxy reads an address and a port (linkerd/app/src/env.rs, parse_control_addr)."""
    host, colon, port = value.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    in_brackets = host.startswith("[") and host.endswith("]")
    if not colon or not _is_port(port) or not _is_host(bare) or (":" in bare) != in_brackets:
        raise refused("MSH017", "This is not a host and a port.", "HOST:PORT, without http://")
    return value


def _domain(longest: int, why: str) -> Callable[[str], str]:
    def check(value: str) -> str:
        _not_empty(value)
        if len(value) > longest or not _DNS_NAME.fullmatch(value):
            raise refused("MSH017", f"This is not a domain {why}.", f"a DNS name, at most {longest} characters")
        return value

    return check


def _cidrs(value: str) -> str:
    """The policy controller parses Rust's IpNet: an address, `/`, a length; host bits may be set."""
    for part in value.split(","):
        address, slash, length = part.partition("/")
        try:
            ipaddress.ip_network(part, strict=False)
        except ValueError:
            slash = ""
        if not slash or "%" in address or not (length.isascii() and length.isdigit()):
            raise refused("MSH017", "This is not a list of networks.", "CIDRs with commas, no blanks: 10.0.0.0/8")
    return value


def _is_port(text: str) -> bool:
    return bool(_PORT.fullmatch(text)) and int(text) <= _MOST_PORT


def _ports(value: str) -> str:
    """Linkerd's injector skips an invalid port or range with a warning in its log (pkg/util/parsing.go)."""
    for part in value.split(","):
        first, dash, last = part.partition("-")
        ends = [first, last] if dash else [first]
        if not all(_is_port(end) for end in ends):
            allowed = "ports or ranges of ports with commas, 1 to 65535, such as 25,3306,8000-8010"
            raise refused("MSH017", "This is not a list of ports.", allowed)
        if dash and int(first) > int(last):
            raise refused(
                "MSH017", "A range of ports ends before it begins.", "the lower port first, such as 8000-8010"
            )
    return value


def _log_level(value: str) -> str:
    """Logrus, ParseLevel: the control plane exits on any other word."""
    levels = ("panic", "fatal", "error", "warn", "info", "debug", "trace")
    if value.lower() not in (*levels, "warning"):
        raise refused("MSH004", "This is not a log level.", "one of " + ", ".join(levels))
    return value


def _proxy_log_level(value: str) -> str:
    """Rust's tracing_subscriber::EnvFilter. A bare word that is not a level means a target at level trace."""
    for directive in value.split(","):
        if not _DIRECTIVE.fullmatch(directive):
            allowed = "levels (trace, debug, info, warn, error, off) and TARGET=LEVEL, with commas: warn,linkerd=info"
            raise refused("MSH004", "This is not a log level of the proxy.", allowed)
    return value


def _host_pattern(value: str) -> str:
    """The dashboard exits on a pattern that Go's regexp does not accept (viz, web/main.go)."""
    wrong = not 0 < len(value) <= _LONGEST_PATTERN or not value.isprintable() or bool(_NO_RE2.search(value))
    try:
        re.compile("" if wrong else value)
    except (re.error, RecursionError, OverflowError):
        wrong = True
    if wrong:
        allowed = "an RE2 expression, without look-around, backreferences and possessive repetition"
        raise refused("MSH004", "This is not a regular expression.", allowed)
    return value


def _quantity(value: str) -> str:
    _not_empty(value)
    if len(value) > _LONGEST_RELEASE or not _QUANTITY.fullmatch(value):
        raise refused("MSH015", "This is not a quantity.", "a number and a unit, such as 500m, 2, 512Mi or 1Gi")
    return value


def _bytes(value: str) -> str:
    _quantity(value)
    if amount(value) % 1 != 0:
        message = "This is a part of a byte: m is a thousandth."
        raise refused("MSH015", message, "whole bytes, such as 512Mi", "Write M or Mi for a million bytes.")
    return value


def amount(quantity: str) -> Decimal:
    """Return the value of a validated quantity."""
    return cast("Any", kubernetes_quantity).parse_quantity(quantity)


Name = Annotated[str, Checked(_dns_label, DNS_LABEL.pattern)]
SecretName = Annotated[str, Checked(_dns_subdomain, _DNS_NAME.pattern, _LONGEST_DNS_NAME)]
AnnotationKey = Annotated[str, Checked(_annotation_key, _QUALIFIED_NAME.pattern)]
LabelValue = Annotated[str, Checked(_label_value, _LABEL_VALUE.pattern, _LONGEST_LABEL)]
ReleaseName = Annotated[str, Checked(_release, DNS_LABEL.pattern, _LONGEST_RELEASE)]
Revision = Annotated[str, Checked(_revision, DNS_LABEL.pattern, _LONGEST_RELEASE - len("istiod-"))]
Version = Annotated[str, Checked(_exact_version, EXACT_VERSION.pattern)]
Text = Annotated[str, Checked(_not_empty)]
FilePath = Annotated[str, Checked(_path)]
Tag = Annotated[str, Checked(_image_tag, _IMAGE_TAG.pattern)]
Registry = Annotated[str, Checked(_registry, _REGISTRY.pattern, _LONGEST_PATH_PART)]
Repository = Annotated[str, Checked(_repository, "(https?|oci)://.+", _LONGEST_URL)]
HttpUrl = Annotated[str, Checked(_http_url, "https?://.+", _LONGEST_URL)]
ServerUrl = Annotated[str, Checked(_server_url, "https?://[^@?#]+", _LONGEST_URL)]
"""Address of a server that others connect to; without a slash at its end."""
Endpoint = Annotated[str, Checked(_endpoint)]
ClusterDomain = Annotated[str, Checked(_domain(121, "of a cluster"))]
"""SERVICE.NAMESPACE.svc.DOMAIN is a DNS name with two labels of up to 63 characters."""
TrustDomain = Annotated[str, Checked(_domain(121, "of identities"))]
Networks = Annotated[str, Checked(_cidrs)]
Ports = Annotated[str, Checked(_ports)]
LogLevel = Annotated[str, Checked(_log_level)]
ProxyLogLevel = Annotated[str, Checked(_proxy_log_level)]
HostPattern = Annotated[str, Checked(_host_pattern)]
Quantity = Annotated[str, Checked(_quantity, _QUANTITY.pattern, _LONGEST_RELEASE)]
Bytes = Annotated[str, Checked(_bytes, _QUANTITY.pattern, _LONGEST_RELEASE)]
