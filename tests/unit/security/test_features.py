"""The names of the features are a contract: meshes refuse by them."""

from __future__ import annotations

from components.security.capability import FEATURES

NAMES = """
    mtls-namespace mtls-service mtls-port mtls-disable caller-account caller-namespace caller-gateway caller-mesh
    caller-everybody caller-trust-domain caller-foreign-account caller-cidr caller-identity-and-cidr port method
    path-exact path-prefix path-template header header-prefix header-present host grpc claims deny jwt jwt-uri
    jwt-headers audit-rule default-deny default-audit egress-deny egress-http egress-https egress-tcp egress-networks
    network-policy
"""


def test_the_features_have_the_names_that_meshes_refuse_by() -> None:
    assert {feature.name for feature in FEATURES} == set(NAMES.split())
    assert len({feature.title for feature in FEATURES}) == len(FEATURES)
