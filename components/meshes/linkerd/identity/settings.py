"""`meshup:identity`: the certificates of Linkerd. decide.py checks combinations of keys."""

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from ....arguments import Arguments, Names, repeated
from ....diagnostics import Diagnostic
from ....scalars import FilePath, Name, Text

Days = Annotated[int, Field(ge=1, le=36500)]


class LifetimeSettings(Arguments):
    """Validity and renewal window of a certificate."""

    validity_days: Days | None = None
    """Days; the default is 3650 for an anchor and 365 otherwise."""
    renew_before_days: Days | None = None
    """Days; the default is 90, or a third of a shorter validity."""


class IdentitySettings(Arguments):
    """Linkerd's certificates. May be a secret as a whole."""

    anchors: Names = ("first",)
    """Names of the trust anchors that meshup creates, of your choice; each name is one key."""
    signer: Name | None = None
    """The anchor that signs the issuer; the first one by default."""
    external_ca: Annotated[bool, Field(alias="externalCA")] = False
    """A CA in the cluster provides the anchors and the issuer."""
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
    """Refuse provided certificates with fewer days left. Below 60 days meshup warns, as `linkerd check` does."""
    anchor: LifetimeSettings = LifetimeSettings()
    """Lifetime of the trust anchors."""
    issuer: LifetimeSettings = LifetimeSettings()
    """Lifetime of the issuer."""
    webhook: LifetimeSettings = LifetimeSettings()
    """Lifetime of the webhooks' certificates."""

    def check(self, path: str) -> Iterator[Diagnostic]:
        """Refuse a duplicate anchor."""
        yield from repeated(f"{path}.anchors[{{}}]", self.anchors)
