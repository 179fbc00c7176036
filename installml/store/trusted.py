"""The folder ``$INSTALLML_HOME/trust``: whom this machine trusts, and what it has seen.

::

    trust.toml                              the user's own policy
    known/<hex>.pem                         public keys that the policy names by fingerprint
    seen/<registry>/<repository>/@pin.json  whom somebody accepted there
                                 @signed    packages there were accepted because of their signature
                                 @tags/<tag>/<created>.<algorithm>-<hex>   the newest signature seen
    keys/                                   private keys (``installml.signing``)

Each fact is a file or a name of its own, so that processes that write at once need no lock: a pin is made by linking a
finished file to its name, which only one can do; of marks the highest name counts, and what a slower process adds does
no harm. What cannot be read is an error and never "nothing is known": forgetting is what an attacker would want.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from ..digest import Digest
from ..errors import StoreUnusable, TrustError, UsageError
from ..reference import Reference, check_tag
from ..trust.errors import SignerChanged
from ..trust.keys import MAX_KEY, PublicKey
from ..trust.pins import Mark, Memory, Pin, lineage, parse_pin
from ..trust.policy import DEFAULT_POLICY, Place, Policy
from ..trust.policy_document import MAX_POLICY, parse_policy
from ..trust.verdict import Verdict, words
from .disk import encode_host
from .files import disk_errors, fsync_folder, in_folder, make_folder, remove_empty, unique_suffix, write_whole

__all__ = ["TrustFolder"]

_PIN, _SIGNED, _TAGS = "@pin.json", "@signed", "@tags"
_MARK = re.compile(r"([0-9]{12})\.(sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})")
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_MOST_CREATED = 10**12 - 1
_MAX_PIN = 1 << 20


class TrustFolder:
    """Whom this machine trusts, on disk.

    Args:
        root: The folder; made when something is written.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.policy_file = root / "trust.toml"
        self._known = root / "known"
        self._seen = root / "seen"

    # The policy and its keys

    def policy(self) -> Policy:
        """Return the user's own policy; the built-in one where there is none.

        Raises:
            PolicyInvalid: It breaks its format.
            StoreError: It cannot be read.
        """
        data = _read(self.policy_file, MAX_POLICY)
        return DEFAULT_POLICY if data is None else parse_policy(data, str(self.policy_file))

    def change_policy(self, change: Callable[[str], str]) -> Policy:
        """Replace the text of the user's own policy by what ``change`` makes of it; one process at a time.

        Args:
            change: Given the text, empty where there is none, returns the new one.

        Returns:
            The new policy.

        Raises:
            PolicyInvalid: The old or the new text breaks the format; nothing was written.
        """
        make_folder(self.root)
        with _alone(self.root):
            old = _read(self.policy_file, MAX_POLICY) or b""
            parse_policy(old, str(self.policy_file))
            new = change(old.decode("utf-8")).encode("utf-8")
            policy = parse_policy(new, str(self.policy_file))
            if new != old:
                write_whole(self.policy_file, new)
        return policy

    def keys(self) -> tuple[PublicKey, ...]:
        """Return the public keys that were given to ``trust add`` or ``rotate``, by fingerprint.

        Raises:
            KeyInvalid: Something there is no key.
            StoreError: The folder cannot be read, or a key does not lie under its own name.
        """
        names = sorted(_names(self._known))
        return tuple(self._key(self._known / name) for name in names if name.endswith(".pem") and name[0] != ".")

    def _key(self, path: Path) -> PublicKey:
        key = PublicKey.parse(_read(path, MAX_KEY) or b"", str(path))
        if path.stem != key.fingerprint.partition(":")[2]:
            raise _damaged(path, f"it holds the key {key.fingerprint}")
        return key

    def add_key(self, key: PublicKey) -> None:
        """Keep a public key."""
        write_whole(self._known / f"{key.fingerprint.partition(':')[2]}.pem", key.pem.encode())

    # What was seen

    def memory(self, reference: Reference) -> Memory:
        """Return what is remembered about the repository of ``reference``, and about its tag where it has one.

        Raises:
            StoreError: Something there is damaged or cannot be read.
        """
        folder = self._folder(Place.of(reference))
        tag = reference.tag or ("" if reference.digest else "latest")
        return Memory(
            self._pin(folder),
            self._mark(folder / _TAGS / check_tag(tag)) if tag else None,
            signed_before=_SIGNED in _names(folder),
        )

    def remember(self, verdict: Verdict) -> None:
        """Write down what follows from a verdict: a pin, the newest signature, that packages there are signed.

        Raises:
            SignerChanged: Somebody has pinned another signer in the meantime: nothing may be used.
        """
        place = verdict.request.place
        if verdict.pin is not None:
            self.pin(place, verdict.pin)
        if verdict.vouched:
            _touch(self._folder(place) / _SIGNED)
        if verdict.mark is not None:
            self._raise_mark(self._folder(place) / _TAGS / check_tag(verdict.request.tag), verdict.mark)

    def pin(self, place: Place, pin: Pin) -> None:
        """Pin signers where nobody is pinned yet.

        Raises:
            SignerChanged: Others are.
        """
        path = self._folder(place) / _PIN
        if _write_first(path, pin.to_bytes()):
            return
        found = self._pin(path.parent)
        if found is not None and set(map(lineage, found.signers)) != set(map(lineage, pin.signers)):
            raise SignerChanged(
                f"{place} is pinned to {words(found.signers)} since a moment ago, not to {words(pin.signers)}",
                hint=f"Two answers were given at once. See who is pinned with: installml trust list {place}",
                subject=str(place),
            )

    def pins(self, prefix: Place | None = None) -> Iterator[tuple[Place, Pin]]:
        """Yield every pinned repository under ``prefix``, by name.

        Raises:
            StoreError: A pin is damaged.
        """
        start = self._folder(prefix or Place())
        with disk_errors(start):
            found = sorted(start.rglob(_PIN))
        for path in found:
            pin = self._pin(path.parent)
            if pin is not None:
                yield self._place(path.parent), pin

    def forget(self, prefix: Place) -> tuple[Place, ...]:
        """Forget who was pinned and what was seen under ``prefix``.

        A damaged file is forgotten too: this is the way out of it.

        Returns:
            The repositories that were known.
        """
        start = self._folder(prefix)
        with disk_errors(start):
            files = [*start.rglob(_PIN), *start.rglob(_SIGNED)]
            tags = list(start.rglob(f"{_TAGS}/*/*"))
            for path in (*files, *tags):
                path.unlink(missing_ok=True)
                remove_empty(path.parent, self._seen)
        owners = {path.parent for path in files} | {path.parents[2] for path in tags}
        return tuple(sorted(self._place(folder) for folder in owners))

    def unpin(self, place: Place) -> bool:
        """Pin nobody for one repository any more; what was seen there stays.

        Returns:
            Whether somebody was.
        """
        path = self._folder(place) / _PIN
        with disk_errors(path):
            try:
                path.unlink()
            except FileNotFoundError:
                return False
        remove_empty(path.parent, self._seen)
        return True

    def rotate(self, place: Place, pin: Pin) -> None:
        """Put ``pin`` in the place of whoever is pinned for one repository."""
        write_whole(self._folder(place) / _PIN, pin.to_bytes())

    def _folder(self, place: Place) -> Path:
        if not place.parts:
            return self._seen
        return self._seen.joinpath(encode_host(place.parts[0]), *place.parts[1:])

    def _place(self, folder: Path) -> Place:
        host, *path = folder.relative_to(self._seen).parts
        return Place.parse("/".join([_decoded(host), *path]))

    def _pin(self, folder: Path) -> Pin | None:
        path = folder / _PIN
        data = _read(path, _MAX_PIN)
        if data is None:
            return None
        try:
            return parse_pin(data, "it")
        except (TrustError, UsageError) as error:
            raise _damaged(path, error.message) from error

    def _mark(self, folder: Path) -> Mark | None:
        return max((_mark_of(folder / name) for name in _names(folder)), default=None)

    def _raise_mark(self, folder: Path, mark: Mark) -> None:
        name = f"{min(mark.created, _MOST_CREATED):012d}.{mark.digest.algorithm}-{mark.digest.hex}"
        _touch(folder / name)
        for other in _names(folder):
            if _mark_of(folder / other) < mark:
                with contextlib.suppress(OSError):  # the highest counts, whatever else is there
                    (folder / other).unlink(missing_ok=True)


def _mark_of(path: Path) -> Mark:
    match = _MARK.fullmatch(path.name)
    if match is None:
        raise _damaged(path, "its name is no mark")
    return Mark(int(match[1]), Digest.parse(match[2].replace("-", ":")))


def _decoded(host: str) -> str:
    return host.replace("_", ":").replace("(", "[").replace(")", "]")


def _read(path: Path, cap: int) -> bytes | None:
    """Return a file's content, None where there is no such file in a folder that can be looked into."""
    try:
        with path.open("rb") as file:
            data = file.read(cap + 1)
    except FileNotFoundError:
        if path.is_symlink():
            raise _damaged(path, "it is a link to nothing") from None
        return None
    except OSError as error:
        raise StoreUnusable(f"{path} cannot be read: {error.strerror}", subject=str(path)) from error
    if len(data) > cap:
        raise _damaged(path, f"it has more than {cap} bytes")
    return data


def _names(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir()]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StoreUnusable(f"{folder} cannot be read: {error.strerror}", subject=str(folder)) from error


def _touch(path: Path) -> None:
    with disk_errors(path):
        try:
            handle = in_folder(path.parent, lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        except FileExistsError:  # perhaps another user's, in a store that several share
            return
        os.close(handle)
    fsync_folder(path.parent)


def _write_first(path: Path, data: bytes) -> bool:
    """Make ``path`` hold ``data`` unless it is there; returns whether this call made it. Of several, one does."""
    staging = path.parent / f".{path.name}.{unique_suffix()}"
    with disk_errors(path):
        in_folder(path.parent, lambda: write_whole(staging, data))
        try:
            _link(staging, path, data)
        except FileExistsError:
            return False
        finally:
            staging.unlink(missing_ok=True)
    fsync_folder(path.parent)
    return True


def _link(staging: Path, path: Path, data: bytes) -> None:
    try:
        os.link(staging, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        with path.open("xb") as file:  # a file system without links: half of it, after a crash, is an error later
            file.write(data)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    with disk_errors(folder):
        handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # no flock on this file system
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _damaged(path: Path, reason: str) -> StoreUnusable:
    return StoreUnusable(
        f"{path} is damaged: {reason}",
        hint=(
            "Nothing is trusted on the word of a damaged file. Put it back from a backup, or forget what was known "
            "with: installml trust rotate REPOSITORY"
        ),
        subject=str(path),
    )
