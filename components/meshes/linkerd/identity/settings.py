"""`meshup:identity`: the certificates of Linkerd. decide.py checks how the keys go together."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from ....arguments import Arguments, Names, repeated
from ....diagnostics import Diagnostic
from ....scalars import FilePath, Name, Text

Days = Annotated[int, Field(ge=1, le=36500)]


class LifetimeSettings(Arguments):
    """How long a certificate is valid, and how long before its end it is renewed."""

    validity_days: Days | None = None
    """Days; 3650 of an anchor and 365 of the others if not set."""
    renew_before_days: Days | None = None
    """Days, 90 if not set. A short validity without a window gets a third of it."""


class IdentitySettings(Arguments):
    """Linkerd's certificates. May be a secret as a whole."""

    anchors: Names = ("first",)
    """Names of the trust anchors that meshup makes. The names are yours; each stands for one key."""
    signer: Name | None = None
    """The anchor that signs the issuer; the first of them if not set."""
    external_ca: Annotated[bool, Field(alias="externalCA")] = False
    """A CA in the cluster keeps the anchors and the issuer."""
    trust_anchors: Text | None = None
    """The anchors of an identity of your own, as PEM text."""
    trust_anchors_file: FilePath | None = None
    """The same as a file."""
    issuer_certificate: Text | None = None
    """The issuer of an identity of your own, as PEM text."""
    issuer_certificate_file: FilePath | None = None
    """The same as a file."""
    issuer_key: Text | None = None
    """The issuer's key, as PEM text. Only as a secret."""
    issuer_key_file: FilePath | None = None
    """The same as a file."""
    minimum_days_left: Days = 14
    """Of your own certificates: with fewer days left, meshup refuses. Below 60 it warns, as `linkerd check` does."""
    anchor: LifetimeSettings = LifetimeSettings()
    """Lifetime of the trust anchors."""
    issuer: LifetimeSettings = LifetimeSettings()
    """Lifetime of the issuer."""
    webhook: LifetimeSettings = LifetimeSettings()
    """Lifetime of the webhooks' certificates."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse an anchor that stands twice."""
        yield from repeated(f"{path}.anchors[{{}}]", self.anchors)
