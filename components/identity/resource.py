"""The name by which a stack's state finds the provider of its certificates.

A dynamic provider is kept in the state as a pickle (pulumi/dynamic), which says module and class. Another module would
be a change of every certificate, and a state that names this one could no longer be destroyed without it.
"""

from ..meshes.linkerd.identity.resource import CertificateProvider

__all__ = ["CertificateProvider"]
