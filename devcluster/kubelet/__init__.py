"""What a kubelet and kube-proxy do, for the pods of the embedded cluster that must be real.

Real are the pods of istiod and every pod with an Envoy of Istio's in it; all others are kwok's (see `spec.is_real`).

| module | what it is |
| --- | --- |
| `spec.py`, `volumes.py` | pure: what to run, with which files |
| `status.py`, `services.py` | pure: what to report; names and addresses of Services |
| `shim.py` | the process that is one pod |
| `sandbox.py`, `pod.py` | the kubelet's side of a shim; one pod's life |
| `node.py` | all pods, and the names and addresses of Services |
| `network.py`, `api.py` | the cluster's end of a pod's link; the Kubernetes API |
"""
