"""A random password as a Pulumi resource: made once, a secret in the state, kept until the user asks for another.

A dynamic provider makes it, as Linkerd's certificates (components/meshes/linkerd/identity/resource.py), so that it
needs no plugin. The provider has no fields and is stored as the name of its module and class: neither may change, or a
state that has a password could not be destroyed without the old one.
"""

import secrets
import string
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi import dynamic

Properties = dict[str, Any]

_INPUTS = ("length", "rotation")
_ALPHABET = string.ascii_letters + string.digits
"""No character that a shell, a URL or an environment variable of Grafana reads in another way: 5.95 bits each."""


@dataclass(frozen=True, slots=True)
class GeneratedPassword:
    """A password that goes into a key of a Secret: plain data.

    Attributes:
        key: The key of the Secret.
        length: How many characters it has.
        rotation: Another number makes another password.
    """

    key: str
    length: int
    rotation: int


class PasswordProvider(dynamic.ResourceProvider):
    """Make and keep one password. Stateless, so that its stored form never changes."""

    serialize_as_secret_always = False

    def diff(self, _id: str, _olds: Properties, _news: Properties) -> dynamic.DiffResult:
        """Report another length or rotation: both make another password in place."""
        return dynamic.DiffResult(changes=any(_olds.get(key) != _news.get(key) for key in _INPUTS))

    def create(self, props: Properties) -> dynamic.CreateResult:
        """Make the password. The ID says nothing about it."""
        return dynamic.CreateResult(secrets.token_hex(8), _made(props))

    def update(self, _id: str, _olds: Properties, _news: Properties) -> dynamic.UpdateResult:
        """Make another password."""
        return dynamic.UpdateResult(_made(_news))


class Password(dynamic.Resource, module="meshup", name="Password"):
    """A random password.

    Attributes:
        value: The password; a secret.
    """

    value: pulumi.Output[str]

    def __init__(self, name: str, wanted: GeneratedPassword, opts: pulumi.ResourceOptions) -> None:
        """Register the password.

        Args:
            name: Name of the resource.
            wanted: What it is like.
            opts: Options of this resource only.
        """
        properties: dict[str, Any] = {"length": wanted.length, "rotation": wanted.rotation, "value": None}
        secret = pulumi.ResourceOptions(additional_secret_outputs=["value"])
        super().__init__(PasswordProvider(), name, properties, pulumi.ResourceOptions.merge(opts, secret))


def _made(inputs: Properties) -> Properties:
    # A number arrives as a float.
    length = int(inputs["length"])
    value = "".join(secrets.choice(_ALPHABET) for _ in range(length))
    return {**{key: inputs[key] for key in _INPUTS}, "value": value}
