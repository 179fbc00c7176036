"""What became of signing keys."""

from __future__ import annotations

from dataclasses import dataclass

from .form import Result

__all__ = ["KeyExportResult", "KeyInfo", "KeyListResult", "KeyResult", "KeyRotateResult"]


@dataclass(frozen=True, slots=True)
class KeyInfo:
    """One version of a key.

    ``holding`` says what of it is here: ``encrypted`` or ``open`` (the private key in a file), ``remote`` (in the
    device or service that ``uri`` names), ``public`` (nothing that signs). ``path`` is its folder.
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
    """A key was made or imported; with ``imported`` from where."""

    key: KeyInfo
    imported: str = ""
    notices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyListResult(Result):
    """The keys of this machine, by name, newest version first."""

    keys: tuple[KeyInfo, ...]


@dataclass(frozen=True, slots=True)
class KeyExportResult(Result):
    """A public key in PEM, or a statement of rotation, as ``text``; ``written`` names files that were made instead."""

    name: str
    fingerprint: str
    text: str = ""
    written: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class KeyRotateResult(Result):
    """A key follows another of the same name; both have signed the ``statement`` that says so, a file."""

    key: KeyInfo
    previous: KeyInfo
    statement: str
    notices: tuple[str, ...] = ()
