"""`pulumi-resource-kubernetes` in Python, for machines where the official plugin can't be had.

It speaks Pulumi's provider protocol (`pulumi.runtime.proto.provider_pb2_grpc`) and behaves as the official plugin
4.29.0 does; docs/embedded-provider.md says what it does and where it differs.

The pure parts decide on plain data (`properties`, `objects`, `naming`, `fields`, `diff`, `awaiting`, `release`,
`kubeconfig`, `settings`), the thin ones act (`client`, `operations`, `resources`, `helm`, `server`).
"""
