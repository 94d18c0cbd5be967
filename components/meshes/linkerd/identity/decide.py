"""Plan Linkerd's certificates from `meshup:identity`."""

from collections.abc import Callable, Mapping
from datetime import datetime

from ....diagnostics import Diagnostic
from .checks import Provided, check_provided
from .component import IdentityPlan, Lifetime
from .settings import IdentitySettings, LifetimeSettings

_PATH = "meshup:identity"
_ANCHOR = Lifetime(3650, 90)
_SHORTER = Lifetime(365, 90)
"""Linkerd's own certificates are valid for a year, and `linkerd check` warns below 60 days."""

_MOST_BYTES = 256 * 1024
"""Size limit of a file of certificates: a certificate has about 1 KiB, and each is checked."""

_LONGEST_DOMAIN = 64 - len("identity.linkerd.")
"""A common name has at most 64 characters (RFC 5280, ub-common-name)."""

_MATERIAL: Mapping[str, tuple[str, str]] = {
    "trustAnchors": ("trust_anchors", "trust_anchors_file"),
    "issuerCertificate": ("issuer_certificate", "issuer_certificate_file"),
    "issuerKey": ("issuer_key", "issuer_key_file"),
}
"""Configuration keys of a provided identity, each as text or as a file."""


def decide(
    settings: IdentitySettings,
    trust_domain: str,
    now: datetime,
    read_file: Callable[[str, int], str],
    *,
    is_secret: bool,
) -> tuple[IdentityPlan, list[Diagnostic]]:
    """Plan the identity.

    Args:
        settings: `meshup:identity`.
        trust_domain: The trust domain of the mesh.
        now: The current time, with a time zone.
        read_file: Reads a file of at most the given bytes; raises an OSError whose text is the reason.
        is_secret: Whether the key `meshup:identity` is a Pulumi secret.

    Returns:
        The plan and the diagnostics. With an error among them, the plan serves only to find further faults.
    """
    diagnostics: list[Diagnostic] = []
    texts = {key: _text(settings, key, read_file, diagnostics) for key in _MATERIAL}
    given = [key for key, text in texts.items() if text is not None]
    lifetimes = [
        _lifetime(settings.anchor, _ANCHOR, "anchor", diagnostics),
        _lifetime(settings.issuer, _SHORTER, "issuer", diagnostics),
        _lifetime(settings.webhook, _SHORTER, "webhook", diagnostics),
    ]
    if given and settings.external_ca:
        message = "externalCA is set, and so is material for an identity of one's own."
        diagnostics.append(
            Diagnostic("MSH218", f"{_PATH}.externalCA", True, message, "externalCA or " + ", ".join(given))
        )
    if given and len(given) < len(_MATERIAL):
        lacking = [key for key in _MATERIAL if key not in given]
        message = f"{', '.join(lacking)} is missing: an identity of one's own needs all three."
        diagnostics.append(
            Diagnostic("MSH218", _PATH, None, message, ", ".join(_MATERIAL), "Give what is missing as well.")
        )
    if settings.issuer_key is not None and not is_secret:
        message = "The private key is in plain text in the stack's configuration file."
        remedy = "pulumi config set --secret --path identity.issuerKey; and replace the key, since the file had it."
        diagnostics.append(Diagnostic("MSH222", f"{_PATH}.issuerKey", "[secret]", message, "a secret", remedy))
    source = "provided" if given else "external" if settings.external_ca else "managed"
    anchors = settings.anchors or ("first",)
    signer = settings.signer or anchors[0]
    if source == "managed" and signer not in anchors:
        message = "The anchor that should sign is not among the trusted ones."
        diagnostics.append(Diagnostic("MSH215", f"{_PATH}.signer", signer, message, "one of " + ", ".join(anchors)))
        signer = anchors[0]
    if source == "managed" and not settings.anchors:
        diagnostics.append(
            Diagnostic("MSH215", f"{_PATH}.anchors", None, "There is no trust anchor.", "one name or more")
        )
    if source == "managed" and len(trust_domain) > _LONGEST_DOMAIN:
        message = "The issuer would be called identity.linkerd.DOMAIN, and a certificate takes no such long name."
        allowed = f"at most {_LONGEST_DOMAIN} characters"
        remedy = "Set linkerd.trustDomain to a shorter domain; it need not be that of the cluster."
        diagnostics.append(Diagnostic("MSH017", "meshup:linkerd.trustDomain", trust_domain, message, allowed, remedy))
    if len(given) == len(_MATERIAL):
        provided = Provided(*(text or "" for text in texts.values()))
        paths = {key: _field(settings, key) for key in _MATERIAL}
        diagnostics += check_provided(
            provided,
            now,
            settings.minimum_days_left,
            anchors_path=paths["trustAnchors"],
            issuer_path=paths["issuerCertificate"],
            key_path=paths["issuerKey"],
        )
    plan = IdentityPlan(
        source=source,
        trust_domain=trust_domain,
        anchors=anchors if source == "managed" else (),
        signer=signer if source == "managed" else "",
        anchor=lifetimes[0],
        issuer=lifetimes[1],
        webhook=lifetimes[2],
        anchors_pem=texts["trustAnchors"] or "",
        issuer_certificate_pem=texts["issuerCertificate"] or "",
        issuer_key_pem=texts["issuerKey"] or "",
    )
    return plan, diagnostics


def _field(settings: IdentitySettings, key: str) -> str:
    in_file = getattr(settings, _MATERIAL[key][1]) is not None
    return f"{_PATH}.{key}{'File' if in_file else ''}"


def _text(
    settings: IdentitySettings, key: str, read_file: Callable[[str, int], str], diagnostics: list[Diagnostic]
) -> str | None:
    text, file = (getattr(settings, name) for name in _MATERIAL[key])
    if text is not None and file is not None:
        message = f"{key} and {key}File are both set."
        diagnostics.append(Diagnostic("MSH007", f"{_PATH}.{key}", None, message, f"{key} or {key}File"))
    if text is not None or file is None:
        return text
    try:
        return read_file(file, _MOST_BYTES)
    except OSError as error:
        diagnostics.append(Diagnostic("MSH217", f"{_PATH}.{key}File", file, f"The file can't be read: {error}."))
        return None


def _lifetime(settings: LifetimeSettings, default: Lifetime, what: str, diagnostics: list[Diagnostic]) -> Lifetime:
    validity = settings.validity_days or default.validity_days
    # The window of a short validity defaults to a third of it, as in cert-manager.
    window = settings.renew_before_days or min(default.renew_before_days, max(validity // 3, 1))
    if window >= validity:
        message = f"The window of {window} days is not shorter than the validity of {validity} days."
        diagnostics.append(
            Diagnostic("MSH220", f"{_PATH}.{what}.renewBeforeDays", window, message, f"less than {validity}")
        )
    return Lifetime(validity, window)
