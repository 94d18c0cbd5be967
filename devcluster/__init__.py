"""The embedded cluster: a real Kubernetes API, istiod and Envoy on one machine, without Docker.

`python -m devcluster` is its command line. Nothing here is imported by the Pulumi program.
"""
