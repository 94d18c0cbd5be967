"""The pure core of observability: series, rules and alerts that say the same of every mesh.

It knows no Pulumi and no mesh. The way of the data: compiled routes and a `MetricsSource` -> recording rules and alerts
-> the values of an add-on.
"""
