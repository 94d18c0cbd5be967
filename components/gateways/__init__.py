"""Gateways: where requests from outside of the cluster come in.

`model.py` is the neutral model, `settings.py` what may be written under `meshup:gateways`, `checks.py` what is wrong
with it, `gateway_api.py` its objects of the Gateway API. A mesh compiles a gateway to its objects
(`Mesh.gateway_objects`); `component.py` registers them.
"""
