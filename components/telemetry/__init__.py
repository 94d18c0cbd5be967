"""What proxies tell of single requests: traces and access logs, in the same words for every mesh.

The way of the data: `meshup:tracing` and `meshup:accessLogs` (`settings.py`) -> `Mesh.telemetry` -> chart values,
objects and annotations of namespaces -> `component.py` registers the objects.
"""
