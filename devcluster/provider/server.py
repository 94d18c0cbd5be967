"""The plugin's gRPC server: Pulumi's provider protocol on the one side, resources on the other."""

# The protocol names the methods and their arguments, and documents them (proto/pulumi/provider.proto).
# ruff: noqa: ARG002, D102, N802

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent import futures
from types import FrameType, TracebackType
from typing import Any, NoReturn, cast

import grpc
import yaml
from google.protobuf import any_pb2, empty_pb2, struct_pb2
from google.rpc import status_pb2  # pyright: ignore[reportMissingTypeStubs] - has .pyi beside it, no stub package
from pulumi.runtime.proto import plugin_pb2, provider_pb2, provider_pb2_grpc

from devcluster.provider import diff, kubeconfig, naming, objects, properties, release, settings
from devcluster.provider.client import ApiError, Client, UnreachableError
from devcluster.provider.helm import Helm, HelmError, ReleaseResources, child_environment
from devcluster.provider.host import Host
from devcluster.provider.memory import MemoryFile
from devcluster.provider.objects import JsonObject
from devcluster.provider.operations import Operations
from devcluster.provider.resources import (
    Difference,
    IncompleteError,
    KubernetesResources,
    Naming,
    Resource,
    ResourceError,
)
from kubeaccess.connection import ConnectionConfigError, CredentialError

VERSION = "4.34.2"
"""The version of the SDK whose resources this plugin serves; the engine compares nothing, people read it."""

_THREADS = 64  # Most of them wait: the engine's own limit is 4 times the processors, or --parallel.
_MESSAGE_SIZE = 400 << 20  # Bytes. Pulumi's own limit (rpcutil.GrpcChannelOptions).
_ORPHAN_GRACE = 300.0  # Seconds that work under way gets when the engine is gone.
_CONTEXT_KEYS = ("kubeconfig", "context", "cluster")

_KINDS = {
    ("add", False): provider_pb2.PropertyDiff.ADD,
    ("add", True): provider_pb2.PropertyDiff.ADD_REPLACE,
    ("delete", False): provider_pb2.PropertyDiff.DELETE,
    ("delete", True): provider_pb2.PropertyDiff.DELETE_REPLACE,
    ("update", False): provider_pb2.PropertyDiff.UPDATE,
    ("update", True): provider_pb2.PropertyDiff.UPDATE_REPLACE,
}


def _abort(context: grpc.ServicerContext, message: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, message)


def _abort_incomplete(context: grpc.ServicerContext, error: IncompleteError) -> NoReturn:
    detail = provider_pb2.ErrorResourceInitFailed(
        id=error.id,
        properties=properties.encode(error.state),
        reasons=error.reasons,
        inputs=None if error.inputs is None else properties.encode(error.inputs),
    )
    packed = any_pb2.Any()
    packed.Pack(detail)
    code = cast("int", grpc.StatusCode.UNKNOWN.value[0])
    status = status_pb2.Status(code=code, message=str(error), details=[packed])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, str(error))


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The plugin. The engine calls it from several threads at once."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._cancelled = threading.Event()
        self._cleanup = contextlib.ExitStack()
        self._configured: tuple[KubernetesResources, ReleaseResources] | None = None
        self._helm: Helm | None = None

    @property
    def busy(self) -> bool:
        """Whether helm is running."""
        return self._helm is not None and self._helm.busy

    def abandon(self) -> None:
        """End every wait; helm goes on."""
        self._cancelled.set()

    def cancel(self) -> None:
        """End every wait and tell helm to end."""
        self.abandon()
        if self._helm is not None:
            self._helm.cancel()

    def close(self) -> None:
        """Close the files in memory that helm reads."""
        self._cleanup.close()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: plugin_pb2.PluginAttach, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self._host = Host(request.address)
        return empty_pb2.Empty()

    def Cancel(self, request: empty_pb2.Empty, context: grpc.ServicerContext) -> empty_pb2.Empty:
        self.cancel()
        return empty_pb2.Empty()

    def CheckConfig(
        self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext
    ) -> provider_pb2.CheckResponse:
        news = cast("JsonObject", properties.reveal(properties.decode(request.news)))
        configured: JsonObject = json.loads(os.environ.get("PULUMI_CONFIG") or "{}")
        failures = settings.strict_mode_failures(news, configured, request.urn)
        return provider_pb2.CheckResponse(inputs=request.news, failures=[_failure(*f) for f in failures])

    def DiffConfig(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        olds = cast("JsonObject", properties.reveal(properties.decode(request.olds)))
        news = cast("JsonObject", properties.reveal(properties.decode(request.news)))
        changed = sorted({str(c.path[0]) for c in diff.compare(olds, news)} - {"version", "__internal"})
        if not changed:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)
        replaces = [key for key in _CONTEXT_KEYS if key in changed and _other_cluster(olds, news)]
        identifiers = olds.get("clusterIdentifier"), news.get("clusterIdentifier")
        if all(identifiers):
            # Named by the user, so nothing else tells clusters apart.
            replaces = ["clusterIdentifier"] if identifiers[0] != identifiers[1] else []
        if "renderYamlToDirectory" in changed:
            replaces.append("renderYamlToDirectory")
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_SOME, diffs=changed, replaces=replaces)

    def Configure(
        self, request: provider_pb2.ConfigureRequest, context: grpc.ServicerContext
    ) -> provider_pb2.ConfigureResponse:
        try:
            chosen = settings.load(request.variables, os.environ)
        except settings.SettingsError as error:
            _abort(context, str(error))
        if chosen.render_yaml_to_directory:
            _abort(context, "the embedded plugin does not render to a directory; unset renderYamlToDirectory")
        namespace, unreachable = chosen.namespace or "default", ""
        operations: Operations | None = None
        config_file: MemoryFile | None = None
        try:
            sources = kubeconfig.locate(chosen.kubeconfig, os.environ)
            config, namespace = kubeconfig.effective(sources, chosen.context, chosen.cluster, chosen.namespace)
            client = Client(config)
            client.version()
            operations = Operations(client, self._cancelled)
            config_file = self._cleanup.enter_context(MemoryFile(json.dumps(config).encode()))
        except (
            kubeconfig.KubeconfigError,
            ConnectionConfigError,
            CredentialError,
            UnreachableError,
            ApiError,
            OSError,
        ) as error:
            unreachable = f"unable to load Kubernetes client configuration from kubeconfig file: {error}"
        self._helm = Helm(child_environment(chosen.helm, config_file), self._cancelled)
        self._configured = (
            KubernetesResources(chosen, namespace, operations, unreachable),
            ReleaseResources(self._helm, namespace, unreachable),
        )
        return provider_pb2.ConfigureResponse(
            acceptSecrets=True, supportsPreview=True, supports_autonaming_configuration=True
        )

    def _resources(self) -> tuple[KubernetesResources, ReleaseResources]:
        if self._configured is None:
            raise ResourceError("the provider has not been configured")
        return self._configured

    def Check(self, request: provider_pb2.CheckRequest, context: grpc.ServicerContext) -> provider_pb2.CheckResponse:
        resource, log = Resource(request.urn), self._host.for_resource(request.urn)
        autonaming = request.autonaming if request.HasField("autonaming") else None
        names = Naming(
            request.randomSeed,
            autonaming.proposed_name if autonaming else None,
            autonaming.mode if autonaming else naming.PROPOSE,
        )
        olds, news = properties.decode(request.olds), properties.decode(request.news)
        with _Reporting(context):
            kubernetes, releases = self._resources()
            if resource.token == objects.RELEASE_TYPE:
                checked = releases.check(resource, olds, news, names)
            else:
                checked = kubernetes.check(resource, olds, news, names, log)
            return provider_pb2.CheckResponse(
                inputs=properties.encode(checked.inputs), failures=[_failure(*f) for f in checked.failures]
            )

    def Diff(self, request: provider_pb2.DiffRequest, context: grpc.ServicerContext) -> provider_pb2.DiffResponse:
        resource = Resource(request.urn)
        olds, news = properties.decode(request.olds), properties.decode(request.news)
        with _Reporting(context):
            kubernetes, releases = self._resources()
            if resource.token == objects.RELEASE_TYPE:
                difference = releases.diff(olds, news, request.ignoreChanges)
            else:
                difference = kubernetes.diff(resource, olds, news, request.ignoreChanges)
            return _diff_response(difference)

    def Create(self, request: provider_pb2.CreateRequest, context: grpc.ServicerContext) -> provider_pb2.CreateResponse:
        resource, log = Resource(request.urn, request.timeout), self._host.for_resource(request.urn)
        given = properties.decode(request.properties)
        with _Reporting(context):
            kubernetes, releases = self._resources()
            if resource.token == objects.RELEASE_TYPE:
                identity, state = releases.create(given, log, preview=request.preview)
            else:
                identity, state = kubernetes.create(resource, given, log, preview=request.preview)
            return provider_pb2.CreateResponse(id=identity, properties=properties.encode(state))

    def Read(self, request: provider_pb2.ReadRequest, context: grpc.ServicerContext) -> provider_pb2.ReadResponse:
        resource, log = Resource(request.urn), self._host.for_resource(request.urn)
        state, inputs = properties.decode(request.properties), properties.decode(request.inputs)
        with _Reporting(context):
            kubernetes, releases = self._resources()
            if resource.token == objects.RELEASE_TYPE:
                found = releases.read(request.id, state)
            else:
                found = kubernetes.read(resource, request.id, state, inputs, log)
            if found is None:
                return provider_pb2.ReadResponse()
            identity, new_state, new_inputs = found
            return provider_pb2.ReadResponse(
                id=identity, properties=properties.encode(new_state), inputs=properties.encode(new_inputs)
            )

    def Update(self, request: provider_pb2.UpdateRequest, context: grpc.ServicerContext) -> provider_pb2.UpdateResponse:
        resource, log = Resource(request.urn, request.timeout), self._host.for_resource(request.urn)
        olds, news = properties.decode(request.olds), properties.decode(request.news)
        with _Reporting(context):
            kubernetes, releases = self._resources()
            if resource.token == objects.RELEASE_TYPE:
                state = releases.update(olds, news, preview=request.preview)
            else:
                state = kubernetes.update(resource, olds, news, request.ignoreChanges, log, preview=request.preview)
            return provider_pb2.UpdateResponse(properties=properties.encode(state))

    def Delete(self, request: provider_pb2.DeleteRequest, context: grpc.ServicerContext) -> empty_pb2.Empty:
        resource, log = Resource(request.urn, request.timeout), self._host.for_resource(request.urn)
        state = properties.decode(request.properties)
        with _Reporting(context):
            kubernetes, releases = self._resources()
            if resource.token == objects.RELEASE_TYPE:
                releases.delete(state, log)
            else:
                kubernetes.delete(resource, request.id, state, log)
            return empty_pb2.Empty()

    def Invoke(self, request: provider_pb2.InvokeRequest, context: grpc.ServicerContext) -> provider_pb2.InvokeResponse:
        if request.tok != "kubernetes:yaml:decode":
            _abort(context, f"the embedded plugin does not have the function {request.tok}")
        arguments = cast("JsonObject", properties.reveal(properties.decode(request.args)))
        try:
            documents = [d for d in yaml.safe_load_all(str(arguments.get("text", ""))) if d is not None]
        except yaml.YAMLError as error:
            _abort(context, f"the text is not YAML: {error}")
        result = struct_pb2.Struct()
        result.CopyFrom(properties.encode({"result": _flattened(documents)}))
        return provider_pb2.InvokeResponse(**cast("Any", {"return": result}))

    def GetSchema(
        self, request: provider_pb2.GetSchemaRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetSchemaResponse:
        return provider_pb2.GetSchemaResponse(schema=json.dumps({"name": "kubernetes", "version": VERSION}))

    def GetMapping(
        self, request: provider_pb2.GetMappingRequest, context: grpc.ServicerContext
    ) -> provider_pb2.GetMappingResponse:
        return provider_pb2.GetMappingResponse()


class _Reporting:
    """Turns what an operation raises into the protocol's errors."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    def __enter__(self) -> None:
        return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        match error:
            case None:
                return
            case IncompleteError():
                _abort_incomplete(self._context, error)
            case UnreachableError():
                _abort(self._context, f"configured Kubernetes cluster is unreachable: {error}")
            case ResourceError() | ApiError() | HelmError() | release.ReleaseInputError() | ValueError():
                _abort(self._context, str(error))
            case _:
                return  # A defect: gRPC reports it and the plugin lives on.


def _failure(name: str, reason: str) -> provider_pb2.CheckFailure:
    return provider_pb2.CheckFailure(property=name, reason=reason)


def _diff_response(difference: Difference) -> provider_pb2.DiffResponse:
    some, none = provider_pb2.DiffResponse.DIFF_SOME, provider_pb2.DiffResponse.DIFF_NONE
    return provider_pb2.DiffResponse(
        changes=some if difference.changes else none,
        replaces=difference.replaces,
        diffs=difference.top_level,
        deleteBeforeReplace=difference.delete_before_replace,
        detailedDiff={
            str(change): provider_pb2.PropertyDiff(kind=_KINDS[change.change, change.replace])
            for change in difference.changes
        },
        hasDetailedDiff=True,
    )


def _other_cluster(olds: JsonObject, news: JsonObject) -> bool:
    if any(news.get(key) == properties.UNKNOWN for key in _CONTEXT_KEYS):
        return True  # It can't be told, so the safe answer.
    old, new = (kubeconfig.active_cluster(*(str(bag.get(key) or "") for key in _CONTEXT_KEYS)) for bag in (olds, news))
    return old is not None and new is not None and old != new


def _flattened(documents: list[Any]) -> list[JsonObject]:
    found: list[JsonObject] = []
    for document in documents:
        if not isinstance(document, dict):
            continue
        obj = cast("JsonObject", document)
        if str(obj.get("kind", "")).endswith("List") and isinstance(obj.get("items"), list):
            found += _flattened(obj["items"])
        else:
            found.append(obj)
    return found


def _watch_engine(provider: Provider, stop: Callable[[], None]) -> None:
    """End the plugin when the engine is gone: it can't be asked for anything any more.

    Waits end at once. helm may finish, within a limit, as with the official plugin: a release that
    is half installed is worse than one that nobody recorded.
    """
    parent = os.getppid()
    while os.getppid() == parent:
        time.sleep(1)
    provider.abandon()
    deadline = time.monotonic() + _ORPHAN_GRACE
    while provider.busy and time.monotonic() < deadline:
        time.sleep(0.5)
    stop()


def serve(arguments: list[str]) -> int:
    """Run the plugin until the engine ends it. The only argument is the engine's address. Prints the port."""
    addresses = [a for a in arguments if not a.startswith("-")]
    if not addresses:
        print("usage: pulumi-resource-kubernetes ENGINE_ADDRESS (the Pulumi engine starts this)", file=sys.stderr)
        return 2
    provider = Provider(Host(addresses[0]))
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=_THREADS),
        options=[("grpc.max_receive_message_length", _MESSAGE_SIZE), ("grpc.max_send_message_length", _MESSAGE_SIZE)],
    )
    cast("Any", provider_pb2_grpc).add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    def stop() -> None:
        server.stop(grace=None)

    def terminate(signal_number: int, frame: FrameType | None) -> None:
        del signal_number, frame
        provider.cancel()
        # Not here: the handler runs inside the server's own wait.
        threading.Thread(target=stop).start()

    for wanted in (signal.SIGINT, signal.SIGTERM):
        signal.signal(wanted, terminate)
    threading.Thread(target=_watch_engine, args=(provider, stop), daemon=True).start()
    print(port, flush=True)
    try:
        server.wait_for_termination()
    finally:
        provider.close()
    return 0
