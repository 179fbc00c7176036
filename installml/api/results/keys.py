"""What became of signing keys."""

from __future__ import annotations

from dataclasses import dataclass

from .form import Result

__all__ = ["KeyExportResult", "KeyInfo", "KeyListResult", "KeyResult", "KeyRotateResult"]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One version of a key.

    Attributes:
        name: Its name here.
        version: 1 for the first.
        current: Whether no version follows it.
        kind: Algorithm and size, such as `ecdsa-p256`.
        fingerprint: `sha256:` and the hexadecimal SHA-256 of the public key's DER.
        holding: What of it is here: `encrypted` or `open` (private, in a file), `remote`, `public`.
        path: Its folder.
        uri: The device or service that has the private key; empty otherwise.
    """

    name: str
    version: int
    current: bool
    kind: str
    fingerprint: str
    holding: str
    path: str
    uri: str = ""


@dataclass(frozen=True, slots=True)
class KeyResult(Result):
    """A key was made or imported.

    Attributes:
        key: The key.
        imported: Where it came from; empty when it was made.
        notices: What the reader should know.
    """

    key: KeyInfo
    imported: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyListResult(Result):
    """The keys of this machine.

    Attributes:
        keys: By name, the newest version first.
    """

    keys: tuple[KeyInfo, ...]


@dataclass(frozen=True, slots=True)
class KeyExportResult(Result):
    """A public key, or the statement by which a key handed over to its successor.

    Attributes:
        name: The key, `NAME` or `NAME@VERSION`.
        fingerprint: `sha256:` and the hexadecimal SHA-256 of the public key's DER.
        text: PEM, or with `--rotation` the signed statement; empty when files were written.
        written: Files that were made.
    """

    name: str
    fingerprint: str
    text: str = ""
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRotateResult(Result):
    """A key follows another of the same name.

    Attributes:
        key: The new one.
        previous: The one before.
        statement: File of the statement that both have signed.
        notices: What the reader should know.
    """

    key: KeyInfo
    previous: KeyInfo
    statement: str
    notices: tuple[str, ...] = ()
