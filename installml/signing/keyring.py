"""The keys of this machine, by name: ``$INSTALLML_HOME/trust/keys/<name>/<version>/``.

A version is a folder that appears whole or not at all and is never written again::

    public.pem      the public key
    private.pem     the private key, PKCS #8, encrypted unless somebody asked for it to be open
    uri             instead: where a private key is that never leaves its device or service
    rotation.json   in versions after the first: the version before and this one sign each other

Folders are 0700, files 0600. The highest version is the current one; ``NAME@1`` names an older one, which still shows
who signed what was signed with it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from ..store.files import disk_errors, fsync_folder, remove_tree, unique_suffix
from ..trust.errors import KeyInvalid
from ..trust.keys import MAX_KEY, PublicKey
from .errors import KeyExists, KeyExposed, KeyNotFound
from .keyfile import Ask, PrivateKey, is_locked, read_private

__all__ = [
    "FILE_ENDINGS",
    "Holding",
    "KeyEntry",
    "KeyRing",
    "check_private",
    "checked_name",
    "private_file",
    "read_key_file",
    "uri_file",
    "write_private",
]

FILE_ENDINGS = (".key", ".pem", ".pub")
"""What no key's name ends in, so that what does is a file, and a file of the folder one stands in is never a key."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_PUBLIC, _PRIVATE, _URI, _ROTATION = "public.pem", "private.pem", "uri", "rotation.json"
_MOST_VERSIONS = 10_000


class Holding(StrEnum):
    """What of a key is here."""

    ENCRYPTED = "encrypted"
    OPEN = "open"
    REMOTE = "remote"
    PUBLIC = "public"


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """One version of a key.

    Attributes:
        name: Its name.
        version: 1 for the first.
        current: Whether no version follows.
        public: The public key.
        holding: What of it is here.
        path: Its folder.
        uri: Where the private key is, when a device or service has it.
    """

    name: str
    version: int
    current: bool
    public: PublicKey
    holding: Holding
    path: Path
    uri: str = ""

    @property
    def label(self) -> str:
        """``NAME``, or ``NAME@VERSION`` of an older version."""
        return self.name if self.current else f"{self.name}@{self.version}"

    def private(self, ask: Ask) -> PrivateKey:
        """Return the private key from its file.

        Args:
            ask: Called for the passphrase where there is one.

        Raises:
            KeyNotFound: It is not in a file here.
            KeyExposed: Others can read the file.
            PassphraseRefused: The passphrase is wrong.
        """
        if self.holding not in {Holding.ENCRYPTED, Holding.OPEN}:
            raise KeyNotFound(f"the private half of the key {self.label} is not in a file here", subject=self.label)
        path = self.path / _PRIVATE
        check_private(path)
        key = read_private(read_key_file(path), ask, f"the key {self.label}")
        if key.public_key != self.public:
            raise KeyInvalid(f"{path} does not belong to {_PUBLIC} beside it", subject=self.label)
        return key

    @property
    def rotation(self) -> bytes:
        """The statement by which the version before hands over to this one.

        Raises:
            KeyNotFound: It is the first.
        """
        path = self.path / _ROTATION
        if not path.exists():
            raise KeyNotFound(f"the key {self.label} has not followed another", subject=self.label)
        return read_key_file(path)


class KeyRing:
    """The keys in one folder.

    Args:
        folder: ``$INSTALLML_HOME/trust/keys``; made when the first key is.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def entries(self) -> list[KeyEntry]:
        """Return every version of every key, by name, newest first.

        Raises:
            KeyInvalid: Something there is not a key; names its path.
            StoreError: The folder cannot be read.
        """
        with disk_errors(self._folder):
            names = sorted(each.name for each in self._folder.iterdir()) if self._folder.is_dir() else []
        return [entry for name in names if _NAME.fullmatch(name) for entry in self._versions(name)]

    def find(self, label: str) -> KeyEntry:
        """Return the key of a label: ``NAME``, or ``NAME@VERSION``.

        Raises:
            KeyInvalid: It cannot be a name.
            KeyNotFound: There is none.
        """
        name, at, number = label.partition("@")
        checked_name(name)
        found = [each for each in self._versions(name) if not at or str(each.version) == number]
        if not found:
            raise KeyNotFound(f"there is no key {label}", subject=label)
        return found[0]

    def add(self, name: str, public: PublicKey, files: Mapping[str, bytes]) -> KeyEntry:
        """Keep a first version.

        Args:
            name: Its name.
            public: The public key.
            files: What is kept beside it: of ``private_file`` or ``uri_file``; nothing for a public key only.

        Raises:
            KeyExists: There is a key of that name.
            KeyInvalid: It cannot be a name.
        """
        self.check_free(name)
        return self._publish(name, 1, public, files)

    def check_free(self, name: str) -> None:
        """Return when a key of that name can be made, before anybody is asked for its passphrase.

        Raises:
            KeyExists: There is a key of that name.
            KeyInvalid: It cannot be a name.
        """
        checked_name(name)
        if next(self._versions(name), None):
            raise KeyExists(f"there is a key {name} already", subject=name)

    def follow(self, old: KeyEntry, public: PublicKey, files: Mapping[str, bytes], rotation: bytes) -> KeyEntry:
        """Keep the version after ``old``.

        Raises:
            KeyExists: Somebody else made it in the meantime.
        """
        return self._publish(old.name, old.version + 1, public, {**files, _ROTATION: rotation})

    def _publish(self, name: str, version: int, public: PublicKey, files: Mapping[str, bytes]) -> KeyEntry:
        home = self._folder / name
        staging = home / f".{version}.{unique_suffix()}"
        target = home / str(version)
        with disk_errors(target):
            for folder in (self._folder.parent, self._folder, home, staging):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                for file, data in {_PUBLIC: public.pem.encode(), **files}.items():
                    write_private(staging / file, data)
                fsync_folder(staging)
                try:
                    staging.rename(target)  # a folder with something in it is never replaced (POSIX rename)
                except OSError as error:
                    if not target.exists():
                        raise
                    raise KeyExists(f"there is a key {name} already", subject=name) from error
            except BaseException:
                remove_tree(staging)
                raise
            fsync_folder(home)
            fsync_folder(self._folder)
        return _entry(name, version, True, target)

    def _versions(self, name: str) -> Iterator[KeyEntry]:
        home = self._folder / name
        with disk_errors(home):
            found = [each.name for each in home.iterdir()] if home.is_dir() else []
        numbers = sorted((int(each) for each in found if re.fullmatch("[1-9][0-9]{0,3}", each)), reverse=True)
        for number in numbers[:_MOST_VERSIONS]:
            yield _entry(name, number, number == numbers[0], home / str(number))


def private_file(pem: bytes) -> dict[str, bytes]:
    """Return what ``KeyRing.add`` keeps for a private key in PEM."""
    return {_PRIVATE: pem}


def uri_file(uri: str) -> dict[str, bytes]:
    """Return what ``KeyRing.add`` keeps for a private key that is elsewhere."""
    return {_URI: uri.encode()}


def checked_name(name: str) -> str:
    """Return ``name`` when it can be a key's.

    Raises:
        KeyInvalid: It cannot.
    """
    if not _NAME.fullmatch(name) or name.endswith(FILE_ENDINGS):
        raise KeyInvalid(
            f"{name[:80]!r} cannot be a key's name",
            hint="Use letters, digits, dots, dashes and underscores, such as: installml keys generate acme-release",
            subject=name[:80],
        )
    return name


def check_private(path: Path) -> None:
    """Return when nobody but the owner can read the file of a private key, as ssh wants it.

    Raises:
        KeyExposed: Somebody can.
        StoreError: There is no such file, or it cannot be looked at.
    """
    with disk_errors(path):
        mode = path.stat().st_mode
    if not stat.S_ISREG(mode) or mode & 0o077:
        raise KeyExposed(str(path))


def read_key_file(path: Path) -> bytes:
    """Return the content of a file that should be a key.

    Raises:
        KeyInvalid: It has more bytes than a key.
        StoreError: It cannot be read.
    """
    with disk_errors(path), path.open("rb") as file:
        data = file.read(MAX_KEY + 1)
    if len(data) > MAX_KEY:
        raise KeyInvalid(f"{path} has more than {MAX_KEY} bytes; it is no key", subject=str(path))
    return data


def _entry(name: str, version: int, current: bool, path: Path) -> KeyEntry:
    public = PublicKey.parse(read_key_file(path / _PUBLIC), str(path / _PUBLIC))
    uri = read_key_file(path / _URI).decode("utf-8", "replace").strip() if (path / _URI).exists() else ""
    holding = Holding.REMOTE if uri else Holding.PUBLIC
    if (path / _PRIVATE).exists():
        holding = Holding.ENCRYPTED if is_locked(read_key_file(path / _PRIVATE)) else Holding.OPEN
    return KeyEntry(name, version, current, public, holding, path, uri)


def write_private(path: Path, data: bytes) -> None:
    """Write a new file that only its owner can read.

    Raises:
        StoreError: Something of that name is there, even a link, or it cannot be written.
    """
    with disk_errors(path):
        _write_private(path, data)


def _write_private(path: Path, data: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
