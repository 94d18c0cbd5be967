"""The pure core of security: who may do what. The same shape as components/traffic; only `component` imports Pulumi.

The way of the data: `parse` (raw configuration -> `Policy`) -> `compile_policy` (`Policy` -> objects of a mesh) ->
`SecurityPlane.verdict` (objects and a request -> allowed or denied).
"""
