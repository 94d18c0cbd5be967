"""Register the objects of gateways, and the Secrets that are made from files."""

import base64
from collections.abc import Mapping
from typing import Any

import pulumi
from pydantic import Field

from ..arguments import Arguments, Deferred
from ..resources import register
from ..scalars import Name, SecretName


class TlsSecretArgs(Arguments):
    """A Secret of the type `kubernetes.io/tls`."""

    name: SecretName
    """Its name."""
    namespace: Name
    """Its namespace."""
    certificate: Deferred
    """The certificate and its chain, PEM."""
    key: Deferred
    """The private key, PEM. It is a Pulumi secret."""


class GatewaysArgs(Arguments):
    """Arguments of `Gateways`."""

    objects: list[dict[str, Any]]
    """The objects, in order of creation."""
    secrets: list[TlsSecretArgs] = Field(default_factory=list[TlsSecretArgs])
    """The Secrets with certificates."""


class Gateways(pulumi.ComponentResource):
    """The gateways of a stack: their objects and certificates. What makes their pods must be on the cluster."""

    ready: pulumi.Output[bool]
    """True once all objects are there; not known in a preview that makes one."""

    def __init__(
        self, name: str, args: GatewaysArgs | Mapping[str, Any], opts: pulumi.ResourceOptions | None = None
    ) -> None:
        super().__init__("meshup:index:Gateways", name, {}, opts)
        args = GatewaysArgs.of(args)
        # A listener whose Secret is missing has no certificate to show: Secrets come first.
        made: list[pulumi.CustomResource] = [self._secret(name, item) for item in args.secrets]
        for item in args.objects:
            role = f"{item['metadata']['name']}-{item['kind'].lower()}"
            options = pulumi.ResourceOptions(parent=self, depends_on=list(made))
            made.append(register(f"{name}-{role}", item, options))
        self.ready = pulumi.Output.all(*(resource.id for resource in made)).apply(lambda _: True)
        self.register_outputs({})

    def _secret(self, name: str, args: TlsSecretArgs) -> pulumi.CustomResource:
        def encoded(value: pulumi.Input[str]) -> pulumi.Output[str]:
            return pulumi.Output.secret(value).apply(lambda text: base64.b64encode(text.encode()).decode())

        secret = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": args.name, "namespace": args.namespace},
            "type": "kubernetes.io/tls",
            "data": {"tls.crt": encoded(args.certificate), "tls.key": encoded(args.key)},
        }
        options = pulumi.ResourceOptions(parent=self, additional_secret_outputs=["data"])
        return register(f"{name}-{args.name}-secret", secret, options)
