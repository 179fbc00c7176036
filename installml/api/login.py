"""``login`` and ``logout``: credentials are proved first, then kept where docker and podman keep theirs."""

from __future__ import annotations

from ..errors import NotFound, ReferenceInvalid, UsageError
from ..reference import Reference
from ..registry.auth import Credentials, Fixed
from ..registry.errors import RealmRefused, Unauthorized
from .results import LoginResult
from .session import AMBIENT, Session

__all__ = ["login", "logout"]


def _host(registry: str) -> str:
    """Return the host of ``registry``, which may be spelled with a path."""
    text = registry.removeprefix("https://").removeprefix("http://").rstrip("/")
    try:
        host = Reference.parse(f"{text.partition('/')[0]}/x").registry
    except ReferenceInvalid:
        host = ""
    if not host:
        raise ReferenceInvalid(
            f"{registry!r} is not a registry host", hint="Write a host such as ghcr.io or localhost:5000."
        )
    return host


def login(registry: str, *, username: str, password: str, session: Session = AMBIENT) -> LoginResult:
    """Check credentials with a registry and keep them for docker, podman and ourselves.

    Args:
        registry: Host, such as ``ghcr.io``.
        username: Account name.
        password: Password or access token; it goes to the registry and to the credentials file, nowhere else.
        session: Collaborators.

    Raises:
        Unauthorized: The registry does not accept them; nothing was saved.
        UsageError: One of them is empty.
    """
    host = _host(registry)
    if not username or not password:
        raise UsageError(
            "a user name and a password are needed",
            hint=f"installml login {host} --username NAME --password-stdin < FILE",
        )
    credentials = Credentials(username, password)
    try:
        session.open_registry_as(host, Fixed(credentials)).ping()
    except RealmRefused:
        raise
    except Unauthorized as error:
        raise Unauthorized(
            f"{host} does not accept this password of {username}",
            hint="Check the user name and the password or token.",
            subject=host,
            status=error.status,
            codes=error.codes,
        ) from None  # its hint is to log in
    stored = session.credentials.save(host, credentials)
    session.forget(host)
    return LoginResult(host, username, stored)


def logout(registry: str, *, session: Session = AMBIENT) -> LoginResult:
    """Forget the credentials of a registry.

    Args:
        registry: Host.
        session: Collaborators.

    Raises:
        NotFound: There were none.
    """
    host = _host(registry)
    if not session.credentials.erase(host):
        raise NotFound(f"no credentials are kept for {host}", subject=host)
    session.forget(host)
    return LoginResult(host, "", "")
