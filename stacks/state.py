"""Read the state of a stack through the engine, since a program can't access it otherwise."""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, NamedTuple, cast

import grpc
from google.protobuf import json_format, struct_pb2
from pulumi.runtime import settings
from pulumi.runtime.proto import resource_pb2

from components.helm import RELEASE_TYPE
from components.manifests import ObjectRef, object_ref
from stacks.delivery import PREFIX

State = Mapping[ObjectRef, str]
"""The objects of a stack, each with the URN of its resource."""
Reader = Callable[[str], State | None]
"""Name of a stack -> its objects; empty if there is no such stack, None if that is unknown."""


class Stack(NamedTuple):
    """The deployed stack and its environment.

    Attributes:
        owner: Organisation/project/stack, as in the annotation of its objects.
        states: Reads the state of a stack. Called only if an existing object lacks the annotation.
        environ: The environment of the program.
    """

    owner: str
    states: Reader
    environ: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the stack alone."""
        return self.owner.rpartition("/")[2]


_READ = "pulumi:pulumi:readStackResourceOutputs"
"""A function of the engine itself (pulumi, pkg/resource/deploy/builtins.go). It works with every backend."""


def reader() -> Reader:
    """Return a cached reader of states."""
    return cache(_read)


def objects(resources: Mapping[str, Any]) -> dict[ObjectRef, str]:
    """Return the Kubernetes objects of a state, including those in traffic releases, and its Helm releases.

    Args:
        resources: URN -> type and outputs, as the engine returns them. A Patch resource owns no object.
    """
    refs: dict[ObjectRef, str] = {}
    for urn, resource in resources.items():
        kind, outputs = str(resource["type"]), cast("Mapping[str, Any]", resource["outputs"])
        if kind == RELEASE_TYPE:
            refs[release_ref(str(outputs.get("name", "")), str(outputs.get("namespace", "")))] = urn
            if str(outputs.get("name", "")).startswith(PREFIX):
                values = cast("Mapping[str, Any]", outputs.get("values") or {})
                texts = cast("Mapping[str, str]", values.get("objects") or {})
                refs |= {object_ref(json.loads(text)): urn for text in texts.values()}
        elif kind.startswith("kubernetes:") and not kind.endswith("Patch") and _is_object(outputs):
            refs[object_ref(outputs)] = urn
    return refs


def release_ref(name: str, namespace: str) -> ObjectRef:
    """Return a Helm release as an object, which no API serves."""
    return ObjectRef("helm.sh/v3", "Release", name, namespace)


def absent(stack: str, error: str) -> State | None:
    """Return the state of a stack that can't be read: empty if the error says that the backend has no such stack.

    Sources: pulumi, pkg/backend/backend.go (GetStackResourceOutputs) and pkg/backend/diy (a backend of files or of an
    object store has one organisation, `organization`, so a stack of another one is not in it).
    """
    reasons = (f'unknown stack "{stack}"', "organization name must be 'organization'")
    return {} if any(reason in error for reason in reasons) else None


def _is_object(outputs: Mapping[str, Any]) -> bool:
    return {"apiVersion", "kind", "metadata"} <= set(outputs) and "name" in outputs["metadata"]


def _read(stack: str) -> State | None:
    arguments = struct_pb2.Struct()
    arguments.update({"stackName": stack})
    request = resource_pb2.ResourceInvokeRequest(tok=_READ, args=arguments)
    monitor = cast("Any", settings.get_monitor())
    try:
        # Not pulumi.runtime.invoke: an error in it ends the program, even if it is caught.
        answer = monitor.Invoke(request)
    except grpc.RpcError as error:
        return absent(stack, str(cast("Any", error).details()))
    result = json_format.MessageToDict(getattr(answer, "return"))
    return objects(cast("Mapping[str, Any]", result.get("outputs") or {}))
