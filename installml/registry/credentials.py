"""Where credentials are kept: docker's and podman's files and helpers, read as they read them, written as docker does.

Sources: docker CLI, "config.json" and "docker login" (auths, credsStore, credHelpers, identitytoken); the
docker-credential-helpers protocol (``get``, ``store``, ``erase`` over stdin); containers-auth.json(5) (order of files,
keys with namespaces, the longest prefix wins). We keep no file of our own. Which files: CredentialFiles, given; the
environment is read elsewhere. No password ever stands in an argument, an error or a representation.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..spec.canonical import parse_json
from .auth import Credentials
from .errors import CredentialsUnusable
from .sites import DOCKER_HUB, canonical_host

__all__ = ["CredentialFiles", "CredentialStore"]

_CAP = 4 << 20
_HELPER = re.compile(r"[a-zA-Z0-9_.-]+")
_HELPER_SECONDS = 60.0  # a helper may wait for somebody to unlock a keyring
_TOKEN_USER = "<token>"  # noqa: S105  # a helper's way to say that the secret is an identity token
_HUB_KEY = "https://index.docker.io/v1/"
_MISSING = "credentials not found"


@dataclass(frozen=True, slots=True)
class CredentialFiles:
    """Which files hold credentials.

    Attributes:
        docker: docker's ``config.json``: read last, and the one that is written.
        podman: Files of containers-auth.json(5), in the order in which they are read; they may be missing.
    """

    docker: Path
    podman: tuple[Path, ...] = ()


class CredentialStore:
    """Finds, saves and erases credentials; a CredentialSource."""

    def __init__(self, files: CredentialFiles) -> None:
        self._files = files

    def find(self, registry: str, repository: str = "") -> Credentials | None:
        """Return the credentials for a repository: of the first file that knows any, its most special entry.

        Args:
            registry: Host and optional port.
            repository: Path in it; may be empty.

        Raises:
            CredentialsUnusable: A file or helper exists and cannot be used.
        """
        wanted = f"{canonical_host(registry)}/{repository}".rstrip("/")
        for path in (*self._files.podman, self._files.docker):
            found = _find(path, wanted)
            if found is not None:
                return found
        return None

    def save(self, registry: str, credentials: Credentials) -> str:
        """Keep credentials, in the helper that the file names for the registry or in the file itself.

        Returns:
            Where they are now, for people.
        """
        path, key = self._files.docker, _server_key(registry)
        config = _read(path)
        helper = _helper_for(config, canonical_host(registry), path)
        if helper:
            user = _TOKEN_USER if credentials.identity_token else credentials.username
            secret = credentials.identity_token or credentials.password
            _run_helper(helper, "store", json.dumps({"ServerURL": key, "Username": user, "Secret": secret}))
            return f"the credential helper {helper}"
        auths = _mapping(config, "auths", path)
        config["auths"] = {k: v for k, v in auths.items() if _normal(k) != canonical_host(registry)}
        config["auths"][key] = _entry(credentials)
        _write(path, config)
        return str(path)

    def erase(self, registry: str) -> bool:
        """Forget the credentials of a registry in docker's file and helper; return whether there were any."""
        path, host = self._files.docker, canonical_host(registry)
        config = _read(path)
        helper = _helper_for(config, host, path)
        erased = bool(helper) and _helper_get(helper, registry) is not None
        if erased:
            _run_helper(helper, "erase", _server_key(registry))
        auths = _mapping(config, "auths", path)
        kept = {key: value for key, value in auths.items() if _normal(key) != host}
        if len(kept) < len(auths):
            config["auths"] = kept
            _write(path, config)
            return True
        return erased


def _server_key(registry: str) -> str:
    return _HUB_KEY if canonical_host(registry) == DOCKER_HUB else registry


def _normal(key: str) -> str:
    """Return a key of ``auths`` as ``host[/namespace...]``: docker also wrote whole URLs, with the API's version."""
    text = key.lower() if "://" not in key else key.lower().partition("://")[2]
    text = re.sub(r"/v[12]/?$", "", text.rstrip("/"))
    host, slash, path = text.partition("/")
    return f"{canonical_host(host)}{slash}{path}"


def _prefixes(wanted: str) -> Iterator[str]:
    """Yield ``wanted`` and every prefix of it that ends at a slash, longest first."""
    while wanted:
        yield wanted
        wanted = wanted.rpartition("/")[0]


def _find(path: Path, wanted: str) -> Credentials | None:
    config = _read(path)
    entries = {_normal(key): value for key, value in _mapping(config, "auths", path).items()}
    for prefix in _prefixes(wanted):
        helper = _helper_for(config, prefix, path, shared="/" not in prefix)
        found = _helper_get(helper, prefix) if helper else None
        found = found or _parse_entry(entries.get(prefix), prefix, path)
        if found is not None:
            return found
    return None


def _helper_for(config: dict[str, Any], prefix: str, path: Path, *, shared: bool = True) -> str:
    """Return the helper that a file names for a host (or namespace), or nothing."""
    own = {_normal(key): value for key, value in _mapping(config, "credHelpers", path).items()}
    name = own.get(prefix) or (config.get("credsStore") if shared else "") or ""
    if name and (not isinstance(name, str) or not _HELPER.fullmatch(name)):
        raise CredentialsUnusable(f"{path} names a credential helper that cannot be one", subject=str(path))
    return str(name)


def _read(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CredentialsUnusable(f"{path} cannot be read: {error.strerror}", subject=str(path)) from error
    if not data.strip():
        return {}
    try:
        config = parse_json(data, str(path), cap=_CAP)
    except UsageError:
        config = None
    if not isinstance(config, dict):
        # Not "from error": what could not be parsed may be a secret.
        raise CredentialsUnusable(f"{path} is not a JSON object", hint="Repair or remove the file.", subject=str(path))
    return config


def _mapping(config: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    value = {} if config.get(key) is None else config[key]
    if not isinstance(value, dict):
        raise CredentialsUnusable(f"{key} in {path} is not an object", subject=str(path))
    return value


def _parse_entry(entry: Any, key: str, path: Path) -> Credentials | None:
    if not isinstance(entry, dict):
        return None

    def text(name: str) -> str:
        value = entry.get(name)
        return value if isinstance(value, str) else ""

    username, password = text("username"), text("password")
    if text("auth"):
        username, password = _decoded(text("auth"), key, path)
    found = Credentials(username, password, text("identitytoken"), text("registrytoken"))
    return found if found != Credentials() else None


def _decoded(auth: str, key: str, path: Path) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise CredentialsUnusable(f"the auth of {key} in {path} is not base64 of user:password", subject=str(path))
    return username, password.rstrip("\0")


def _entry(credentials: Credentials) -> dict[str, str]:
    """Return the entry of ``auths`` that docker would write."""
    pair = f"{credentials.username}:{'' if credentials.identity_token else credentials.password}"
    entry = {"auth": base64.b64encode(pair.encode()).decode()}
    if credentials.identity_token:
        entry["identitytoken"] = credentials.identity_token
    return entry


def _write(path: Path, config: dict[str, Any]) -> None:
    """Replace the file whole, readable for its owner only; a link stays a link."""
    target = path.resolve()
    try:
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, staging = tempfile.mkstemp(prefix=".config-", dir=target.parent)  # made with mode 0600
        try:
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump(config, file, indent="\t", ensure_ascii=False)
                file.flush()
                os.fsync(file.fileno())
            Path(staging).replace(target)
        except BaseException:
            Path(staging).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise CredentialsUnusable(f"{path} cannot be written: {error.strerror}", subject=str(path)) from error


def _helper_get(helper: str, registry: str) -> Credentials | None:
    answer = _run_helper(helper, "get", _server_key(registry), may_miss=True)
    if answer is None:
        return None
    try:
        value = parse_json(answer, helper)
        username, secret = value["Username"], value["Secret"]
    except (UsageError, KeyError, TypeError):
        username = secret = None
    if not isinstance(username, str) or not isinstance(secret, str):
        raise CredentialsUnusable(f"the credential helper {helper} gave no username and secret", subject=helper)
    if username == _TOKEN_USER:
        return Credentials(identity_token=secret)
    return Credentials(username, secret) if username or secret else None


def _run_helper(helper: str, action: str, text: str, *, may_miss: bool = False) -> bytes | None:
    """Run ``docker-credential-<helper> <action>`` with ``text`` on its stdin and return its stdout."""
    program = f"docker-credential-{helper}"
    try:
        done = subprocess.run(
            [program, action], input=text.encode(), capture_output=True, timeout=_HELPER_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise CredentialsUnusable(
            f"{program} did not answer in {_HELPER_SECONDS:.0f} seconds", subject=helper
        ) from None
    except OSError as error:
        hint = f"Install {program}, or take its name out of docker's config.json."
        raise CredentialsUnusable(f"{program} cannot be run: {error.strerror}", hint=hint, subject=helper) from error
    if done.returncode == 0:
        return done.stdout
    if may_miss and _MISSING in (done.stdout + done.stderr).decode(errors="replace").lower():
        return None
    # What a helper prints may hold what it was given: only its status is repeated.
    raise CredentialsUnusable(f"{program} {action} failed with status {done.returncode}", subject=helper)
