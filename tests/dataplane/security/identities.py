"""Certificates and tokens that are made for a test: callers of any account, and bearers of any claims."""

import base64
import datetime
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

_DAY = datetime.timedelta(days=1)


class Authority:
    """The authority of a mesh, with its key: it issues what istiod would to the pods of an account."""

    def __init__(self, certificate: bytes, key: bytes, folder: Path) -> None:
        """Take over an authority.

        Args:
            certificate: Its certificate, PEM.
            key: Its key, PEM.
            folder: For the certificates that it issues.
        """
        self._certificate = x509.load_pem_x509_certificate(certificate)
        self._key = cast("rsa.RSAPrivateKey", serialization.load_pem_private_key(key, None))
        self._folder = folder
        self._leaf = rsa.generate_private_key(65537, 2048)

    def issued(self, uri: str) -> str:
        """Return the file with certificate and key of an identity, such as `spiffe://cluster.local/ns/a/sa/b`."""
        file = self._folder / f"{base64.urlsafe_b64encode(uri.encode()).decode()}.pem"
        if not file.exists():
            now = datetime.datetime.now(datetime.UTC)
            names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)])
            signed = (
                x509.CertificateBuilder()
                .subject_name(x509.Name([]))
                .issuer_name(self._certificate.subject)
                .public_key(self._leaf.public_key())
                .serial_number(x509.random_serial_number())
                .not_valid_before(now - _DAY)
                .not_valid_after(now + _DAY)
                .add_extension(names, critical=True)
                .sign(self._key, hashes.SHA256())
            )
            file.write_bytes(signed.public_bytes(serialization.Encoding.PEM) + _private(self._leaf))
        return str(file)


class Issuer:
    """An issuer of JSON Web Tokens (RFC 7519), signed with RS256 (RFC 7518, section 3.3)."""

    def __init__(self, name: str) -> None:
        """Make it, with a key of its own. The name is the claim `iss` of its tokens."""
        self.name = name
        self._key = rsa.generate_private_key(65537, 2048)

    @property
    def jwks(self) -> str:
        """Its public key as a set of keys (RFC 7517)."""
        numbers = self._key.public_key().public_numbers()
        modulus, exponent = (_encoded(n.to_bytes((n.bit_length() + 7) // 8)) for n in (numbers.n, numbers.e))
        key = {"kty": "RSA", "use": "sig", "alg": "RS256", "kid": "one", "n": modulus, "e": exponent}
        return json.dumps({"keys": [key]}, sort_keys=True)

    def token(self, claims: Mapping[str, Any]) -> str:
        """Return a token with these claims; `iss` is filled in unless they have it."""
        head = {"alg": "RS256", "typ": "JWT", "kid": "one"}
        text = ".".join(_encoded(json.dumps(part).encode()) for part in (head, {"iss": self.name, **claims}))
        return f"{text}.{_encoded(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


def _private(key: rsa.RSAPrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
