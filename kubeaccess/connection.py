"""A client for the current context of a kubeconfig. It writes no credential to a disk.

The loader of the Kubernetes client writes inline certificates and keys to temporary files, which outlive a killed
process. It waits for a credential plugin without a timeout and only logs its failure (kubernetes 37,
config/kube_config.py and config/exec_provider.py). So credentials are resolved here, by the rules of
client-go, and only the transport is the client's.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import os
import signal
import ssl
import subprocess
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config.kube_config import KubeConfigLoader

PLUGIN_SECONDS = 60.0
"""Timeout of a credential plugin; it has no terminal, so it does not wait for people."""
_LARGEST_FILE = 1 << 20
_EXEC_INFO = "KUBERNETES_EXEC_INFO"
_EXEC_EXTENSION = "client.authentication.k8s.io/exec"
_ACCEPTED = "BearerToken"
_PROXIES = ("http", "https", "socks5", "socks5h")

T = TypeVar("T")


class ConnectionConfigError(Exception):
    """The kubeconfig names no usable API server. The message holds no credential."""


class CredentialError(Exception):
    """The credentials of the kubeconfig's user can't be resolved. The message holds none of them."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """Credentials of a request. Empty fields are not used.

    Attributes:
        authorization: The value of the Authorization header.
        certificate: The client certificate and its chain, PEM.
        key: Its private key, PEM.
        headers: Further headers: impersonation.
    """

    authorization: str = ""
    certificate: bytes = b""
    key: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()


def client(config: Mapping[str, Any], settings: Configuration | None = None) -> Any:
    """Return a client (`kubernetes.client.ApiClient`) for the current context. Send nothing yet.

    Args:
        config: A kubeconfig whose paths are absolute, or relative to the working directory.
        settings: Retries and pool size; the other settings are overwritten.

    Raises:
        ConnectionConfigError: The context has no cluster, or the cluster no usable address or authority.
        CredentialError: The credentials can't be resolved.
    """
    cluster = cluster_of(config)
    server = _text(cluster, "server", ConnectionConfigError).rstrip("/")
    proxy = _text(cluster, "proxy-url", ConnectionConfigError)
    if not _is_address(server, ("https", "http")) or not (not proxy or _is_address(proxy, _PROXIES)):
        raise ConnectionConfigError("The cluster of the context has no server or proxy-url that is an address.")
    chosen: Any = settings or Configuration()
    chosen.host = server
    if proxy:
        chosen.proxy = proxy
    chosen.tls_server_name = _text(cluster, "tls-server-name", ConnectionConfigError) or None
    chosen.verify_ssl = cluster.get("insecure-skip-tls-verify") is not True
    credentials = credentials_of(config)
    if credentials.authorization:
        chosen.api_key[_ACCEPTED] = credentials.authorization
    made: Any = ApiClient(configuration=chosen)
    made.default_headers.update(credentials.headers)
    if server.startswith("https://"):
        made.rest_client.pool_manager.connection_pool_kw["ssl_context"] = _context(cluster, credentials)
    return made


def cluster_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cluster of the current context.

    Raises:
        ConnectionConfigError: There is none.
    """
    context = _entry(config, "contexts", str(config.get("current-context") or ""), "context")
    name = str((context or {}).get("cluster") or "")
    cluster = _entry(config, "clusters", name, "cluster")
    if cluster is None:
        raise ConnectionConfigError(f"The kubeconfig has no cluster {name!r}, which the context names.")
    return cluster


def user_of(config: Mapping[str, Any]) -> str:
    """Return the name of the user of the current context, "" if it has none: its requests are anonymous."""
    context = _entry(config, "contexts", str(config.get("current-context") or ""), "context")
    return str((context or {}).get("user") or "")


def credentials_of(config: Mapping[str, Any], seconds: float | None = None) -> Credentials:
    """Return the credentials of the current context's user; run its credential plugin if it has one.

    Precedence as in client-go: token file, token, plugin, password.

    Args:
        config: The kubeconfig.
        seconds: Timeout of a plugin; `PLUGIN_SECONDS` by default.

    Raises:
        CredentialError: The user does not exist, a file can't be read, or the plugin returns none.
    """
    name = user_of(config)
    if not name:
        return Credentials()
    user = _entry(config, "users", name, "user")
    if user is None:
        raise CredentialError(f"The kubeconfig has no user {name!r}, which the context names.")
    limit = PLUGIN_SECONDS if seconds is None else seconds
    certificate, key = (_pem(user, f"client-{part}", CredentialError) for part in ("certificate", "key"))
    authorization = _bearer(user)
    provider, plugin = user.get("auth-provider"), user.get("exec")
    if not authorization and isinstance(provider, dict):
        authorization = _from_provider(cast("dict[str, Any]", provider), limit)
    elif not authorization and isinstance(plugin, dict):
        status = _executed(cast("dict[str, Any]", plugin), cluster_of(config), limit)
        authorization = f"Bearer {status['token']}" if status.get("token") else ""
        certificate = str(status.get("clientCertificateData") or "").encode() or certificate
        key = str(status.get("clientKeyData") or "").encode() or key
    if not authorization and user.get("username"):
        pair = f"{_text(user, 'username', CredentialError)}:{_text(user, 'password', CredentialError)}"
        authorization = f"Basic {base64.b64encode(pair.encode()).decode()}"
    if bool(certificate) != bool(key):
        raise CredentialError(f"The user {name!r} has a client certificate without its key, or the other way round.")
    headers = _impersonated(user)
    for value in (authorization, *(value for _, value in headers)):
        # Python's own error message would show the header.
        if not value.isascii() or not value.isprintable():
            raise CredentialError(f"The user {name!r} has a token or a name with characters that no header may have.")
    return Credentials(authorization, certificate, key, headers)


def may_change(config: Mapping[str, Any]) -> bool:
    """Return True if credentials can change: they come from a plugin or a token file."""
    user = _entry(config, "users", user_of(config), "user") or {}
    return any(user.get(key) for key in ("exec", "auth-provider", "tokenFile"))


def _is_address(text: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(text)
        # Reading the port validates it.
        return parts.scheme in schemes and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _entry(config: Mapping[str, Any], section: str, name: str, body: str) -> dict[str, Any] | None:
    entries: Any = config.get(section)
    for entry in cast("list[Any]", entries) if isinstance(entries, list) else []:
        if isinstance(entry, dict) and cast("dict[str, Any]", entry).get("name") == name and name:
            found: Any = cast("dict[str, Any]", entry).get(body)
            return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    return None


def _text(entry: Mapping[str, Any], key: str, error: type[Exception]) -> str:
    value = entry.get(key)
    if value is not None and not isinstance(value, str):
        raise error(f"The field {key} of the kubeconfig is not text.")
    return value or ""


def _pem(entry: Mapping[str, Any], key: str, error: type[Exception]) -> bytes:
    """Return a field that holds base64 data (`KEY-data`, which comes first) or the path of a file (`KEY`)."""
    data = _text(entry, f"{key}-data", error)
    if data:
        try:
            return base64.b64decode("".join(data.split()), validate=True)
        except binascii.Error:
            raise error(f"The field {key}-data of the kubeconfig is not base64.") from None
    path = _text(entry, key, error)
    return _file(path, key, error) if path else b""


def _file(path: str, key: str, error: type[Exception]) -> bytes:
    place = Path(path)
    try:
        if place.exists() and not place.is_file():
            raise error(f"{key} of the kubeconfig is {path}, which is not a regular file.")
        with place.open("rb") as stream:
            return stream.read(_LARGEST_FILE)
    except OSError as fault:
        raise error(f"{key} of the kubeconfig is {path}: {fault.strerror}.") from None
    except ValueError:
        raise error(f"{key} of the kubeconfig is not a path.") from None


def _bearer(user: Mapping[str, Any]) -> str:
    path = _text(user, "tokenFile", CredentialError)
    token = _text(user, "token", CredentialError)
    if path:
        token = _file(path, "tokenFile", CredentialError).decode(errors="replace").strip() or token
    return f"Bearer {token}" if token else ""


def _impersonated(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    groups: Any = user.get("as-groups") or []
    if user.get("as-user-extra") or not isinstance(groups, list) or len(cast("list[Any]", groups)) > 1:
        raise CredentialError("The user impersonates with as-user-extra or several as-groups, which is not supported.")
    found = {
        "Impersonate-User": _text(user, "as", CredentialError),
        "Impersonate-Uid": _text(user, "as-uid", CredentialError),
        "Impersonate-Group": str(cast("list[Any]", groups)[0]) if groups else "",
    }
    return tuple((name, value) for name, value in found.items() if value)


def _from_provider(provider: dict[str, Any], seconds: float) -> str:
    """Return the OpenID Connect token by the client's own loader, which gets nothing else, so that it writes no key."""
    if provider.get("name") != "oidc":
        raise CredentialError(
            f"The auth-provider {provider.get('name')!r} is gone from Kubernetes clients since 1.26; use a plugin."
        )
    config = {
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1"}}],
        "users": [{"name": "u", "user": {"auth-provider": provider}}],
    }
    settings: Any = Configuration()

    def load() -> str:
        cast("Any", KubeConfigLoader)(config).load_and_set(settings)
        return str(settings.api_key.get(_ACCEPTED) or "")

    return _within(load, seconds, "The auth-provider oidc")


def _within(work: Callable[[], T], seconds: float, what: str) -> T:
    """Run work in a thread; raise CredentialError if it fails or exceeds the timeout."""
    results: list[T] = []
    failures: list[Exception] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:  # Whatever a library raises: its text may hold a credential.
            failures.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if results:
        return results[0]
    if failures:
        raise CredentialError(f"{what} failed: {type(failures[0]).__name__}.")
    raise CredentialError(f"{what} did not answer within {seconds:g} seconds.")


def _executed(plugin: Mapping[str, Any], cluster: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    """Run a credential plugin and return its status (Kubernetes, "client-go credential plugins")."""
    command = _text(plugin, "command", CredentialError)
    version = _text(plugin, "apiVersion", CredentialError)
    what = f"The credential plugin {command!r}"
    if not command or not version:
        raise CredentialError("The user's exec has no command or no apiVersion.")
    if plugin.get("interactiveMode") == "Always":
        raise CredentialError(f"{what} wants a terminal (interactiveMode: Always); there is none here.")
    arguments: Any = plugin.get("args") or []
    variables: Any = plugin.get("env") or []
    try:
        environment = {**os.environ, **{str(item["name"]): str(item["value"]) for item in variables}}
        argv = [command, *(str(argument) for argument in arguments)]
    except (TypeError, KeyError):
        raise CredentialError(f"{what} has args or env that are no lists as a kubeconfig has them.") from None
    environment[_EXEC_INFO] = json.dumps(_question(version, plugin, cluster))
    try:
        # A new session, so that its children end with it. It gets no terminal; all that it prints may be secret.
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        hint = _text(plugin, "installHint", CredentialError).strip()
        reason = getattr(error, "strerror", None) or "it is not a command"
        raise CredentialError(f"{what} can't be started: {reason}. {hint}".strip()) from None
    try:
        stream = cast("Any", process.stdout)
        printed = _within(lambda: cast("bytes", stream.read(_LARGEST_FILE)), seconds, what)
        # Stops a plugin with endless output.
        stream.close()
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise CredentialError(f"{what} did not end within {seconds:g} seconds.") from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code != 0:
        raise CredentialError(f"{what} failed with exit code {code}.")
    return _status(printed, version, what)


def _question(version: str, plugin: Mapping[str, Any], cluster: Mapping[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = {"interactive": False}
    if plugin.get("provideClusterInfo") is True:
        told = {key: value for key, value in cluster.items() if key not in ("extensions", "certificate-authority")}
        extension = _entry(cluster, "extensions", _EXEC_EXTENSION, "extension")
        if extension is not None:
            told["config"] = extension
        authority = _pem(cluster, "certificate-authority", ConnectionConfigError)
        if authority:
            told["certificate-authority-data"] = base64.b64encode(authority).decode()
        spec["cluster"] = told
    return {"apiVersion": version, "kind": "ExecCredential", "spec": spec}


def _status(printed: bytes, version: str, what: str) -> dict[str, Any]:
    try:
        answer: Any = json.loads(printed)
        status: Any = answer["status"]
        answered_version = answer["apiVersion"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise CredentialError(f"{what} did not print an ExecCredential with a status.") from None
    if answered_version != version:
        raise CredentialError(f"{what} answers with another apiVersion than {version}, which the kubeconfig names.")
    given = cast("dict[str, Any]", status) if isinstance(status, dict) else {}
    if not given.get("token") and not (given.get("clientCertificateData") and given.get("clientKeyData")):
        raise CredentialError(f"{what} gave no token and no certificate with its key.")
    return given


def _context(cluster: Mapping[str, Any], credentials: Credentials) -> ssl.SSLContext:
    authority = _pem(cluster, "certificate-authority", ConnectionConfigError).decode(errors="replace")
    try:
        context = ssl.create_default_context(cadata=authority or None)
    except (ssl.SSLError, ValueError):
        raise ConnectionConfigError("The certificate-authority of the cluster is not a PEM certificate.") from None
    # As in client-go: cluster CAs often lack extensions that Python requires from 3.13 on.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cluster.get("insecure-skip-tls-verify") is True:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if credentials.certificate:
        with piped(credentials.certificate) as certificate, piped(credentials.key) as key:
            try:
                # OpenSSL would prompt for the key's password on a terminal.
                context.load_cert_chain(certificate, key, password="")
            except (ssl.SSLError, OSError, ValueError):
                raise CredentialError("The user's client certificate and key are no PEM pair.") from None
    return context


@contextlib.contextmanager
def piped(content: bytes) -> Generator[str]:
    """Yield a path from which the content can be read once, without a file on a disk.

    Linux and macOS have `/dev/fd`.
    """
    source, sink = os.pipe()

    def write() -> None:
        with contextlib.suppress(BrokenPipeError), os.fdopen(sink, "wb") as stream:
            stream.write(content)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    try:
        yield f"/dev/fd/{source}"
    finally:
        # Closing the read end unblocks a writer that still waits.
        os.close(source)
        writer.join()


def reason(error: BaseException) -> str:
    """Return the root cause of a connection error in a few words, without memory addresses."""
    inner = getattr(error, "reason", None)
    while isinstance(inner, BaseException):
        error, inner = inner, getattr(inner, "reason", None)
    text = str(error).split(": ", 1)[-1] if isinstance(error, urllib3.exceptions.HTTPError) else str(error)
    return " ".join(text.split()).rstrip(".") or type(error).__name__
