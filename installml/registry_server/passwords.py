"""Names and password hashes from an htpasswd file; checked in constant time, remembered once they matched.

Accepted: bcrypt (``htpasswd -B``), ``pbkdf2_sha256$ITERATIONS$SALT$BASE64`` and ``scrypt$N$R$P$BASE64-SALT$BASE64``.
Refused when the file is read: everything weaker that htpasswd can write (SHA-1, MD5, crypt, plain text).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import UsageError
from ..store.files import disk_errors

__all__ = ["HtpasswdInvalid", "Users", "hash_password"]

_MAX_FILE = 1 << 20
_ITERATIONS = 600_000  # OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256
_MAX_SCRYPT_MEMORY = 256 << 20
_MAX_REMEMBERED = 10_000

Check = Callable[[bytes], bool]


class HtpasswdInvalid(UsageError):
    """A line of the password file cannot be used."""

    reference = "htpasswd-invalid"
    default_hint = "Write the line anew with: htpasswd -B FILE USER"


def hash_password(password: str) -> str:
    """Return a line's second half for ``password``, made with the standard library alone."""
    salt = secrets.token_urlsafe(16)
    value = hashlib.pbkdf2_hmac("sha256", password.encode(), salt.encode(), _ITERATIONS)
    return f"pbkdf2_sha256${_ITERATIONS}${salt}${base64.b64encode(value).decode()}"


def _bcrypt(text: str) -> Check:
    if not re.fullmatch(r"\$2[aby]\$(0[4-9]|1[0-9])\$[./A-Za-z0-9]{53}", text):
        raise ValueError("not a bcrypt hash")
    import bcrypt

    stored = text.encode()

    def check(password: bytes) -> bool:
        # bcrypt reads 72 bytes and no zero byte; a longer password is another one, not a match by its beginning
        return len(password) <= 72 and b"\0" not in password and bcrypt.checkpw(password, stored)

    return check


def _pbkdf2(text: str) -> Check:
    iterations, salt, value = text.split("$")[1:]
    rounds, expected = int(iterations), base64.b64decode(value, validate=True)
    if not (1000 <= rounds <= 10_000_000 and len(expected) == 32):
        raise ValueError("iterations or length out of bounds")
    return lambda password: hmac.compare_digest(
        hashlib.pbkdf2_hmac("sha256", password, salt.encode(), rounds), expected
    )


def _scrypt(text: str) -> Check:
    n, r, p = (int(number) for number in text.split("$")[1:4])
    salt, expected = (base64.b64decode(part, validate=True) for part in text.split("$")[4:])
    memory = 128 * r * (n + p + 2)
    if not (
        n >= 1024
        and n & (n - 1) == 0
        and r > 0
        and 0 < p <= 16
        and memory <= _MAX_SCRYPT_MEMORY
        and len(expected) >= 16
    ):
        raise ValueError("parameters out of bounds")

    def check(password: bytes) -> bool:
        made = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=2 * memory, dklen=len(expected))
        return hmac.compare_digest(made, expected)

    return check


_KINDS: Mapping[str, Callable[[str], Check]] = {
    "$2a$": _bcrypt,
    "$2b$": _bcrypt,
    "$2y$": _bcrypt,
    "pbkdf2_sha256$": _pbkdf2,
    "scrypt$": _scrypt,
}


class Users:
    """Who may log in.

    Args:
        text: The file's lines, ``name:hash`` each; empty lines and those that start with ``#`` say nothing.
        origin: Where they came from, for errors.

    Raises:
        HtpasswdInvalid: A line is malformed, of a weak kind, or gives a name twice.
    """

    def __init__(self, text: str, origin: str) -> None:
        self._checks: dict[str, Check] = {}
        self._key = secrets.token_bytes(32)
        self._matched: set[bytes] = set()
        for number, line in enumerate(text.splitlines(), 1):
            if line.strip() and not line.startswith("#"):
                self._add(line.strip(), f"{origin}, line {number}")
        if not self._checks:
            raise HtpasswdInvalid(f"{origin} names nobody", subject=origin)
        self._nobody = next(iter(self._checks.values()))

    @classmethod
    def read(cls, path: Path) -> Users:
        """Return the users of a file."""
        with disk_errors(path), path.open("rb") as file:
            data = file.read(_MAX_FILE + 1)
        if len(data) > _MAX_FILE:
            raise HtpasswdInvalid(f"{path} has more than {_MAX_FILE} bytes", subject=str(path))
        return cls(data.decode("utf-8", "replace"), str(path))

    def _add(self, line: str, where: str) -> None:
        name, colon, value = line.partition(":")
        kind = next((kind for kind in _KINDS if value.startswith(kind)), "")
        if not (name and colon and kind) or name in self._checks:
            raise HtpasswdInvalid(f"{where}: not a new name with a bcrypt, pbkdf2_sha256 or scrypt hash", subject=where)
        try:
            self._checks[name] = _KINDS[kind](value)
        except (ValueError, binascii.Error) as error:
            raise HtpasswdInvalid(f"{where}: the hash is malformed: {error}", subject=where) from error

    def check(self, name: str, password: str) -> bool:
        """Say whether that is the password; takes as long for names that do not exist."""
        secret = password.encode()
        seal = hmac.digest(self._key, name.encode() + b"\0" + secret, "sha256")
        if seal in self._matched:
            return True
        known = self._checks.get(name)
        if not (known or self._nobody)(secret) or known is None:
            return False
        if len(self._matched) < _MAX_REMEMBERED:
            self._matched.add(seal)
        return True
