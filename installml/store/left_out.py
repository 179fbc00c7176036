"""What nobody asked for of packages that are here in part (``pull --only``).

``state/partial/<algorithm>-<hex>.<n>`` belongs to one manifest and lists blobs that were left out of it, where ``<n>``
is a digest of the list. Several pulls may leave out different things at the same time: each adds its own list, and only
lists whose content stands in a newer one are removed, so none is lost without any lock. What counts as left out is
what is listed and not there.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from pathlib import Path

from ..digest import Digest, DigestInvalid
from ..spec.canonical import JSONInvalid, canonical, parse_json
from ..spec.node import Node
from .files import disk_errors

__all__ = ["LeftOut"]


class LeftOut:
    """The lists of one store.

    Args:
        folder: Where they lie.
        write: Makes a small file whole.
        blob_path: Where the content of a digest would be.
    """

    def __init__(self, folder: Path, write: Callable[[Path, bytes], None], blob_path: Callable[[Digest], Path]) -> None:
        self._folder = folder
        self._write = write
        self._blob_path = blob_path

    def of(self, manifest: Digest) -> frozenset[Digest]:
        """Return the blobs that were left out of a manifest and are not here for another reason either."""
        return frozenset(digest for digest in self._listed(manifest) if not self._blob_path(digest).exists())

    def _listed(self, manifest: Digest) -> set[Digest]:
        """Return what all lists have. One that went away while it was to be read is in a newer one: all are read again.

        Others settle a manifest once a pull, so somebody is the last to do it.
        """
        while True:
            lists = [_read(path) for path in self._files(manifest)]
            if None not in lists:
                return set[Digest]().union(*filter(None, lists))

    def add(self, manifest: Digest, blobs: Iterable[Digest]) -> Path | None:
        """List what will be left out; what is here is not listed. Done before a reference shows the manifest.

        Returns:
            The list, or None when there is nothing to list.
        """
        lacking = sorted(digest for digest in set(blobs) if not self._blob_path(digest).exists())
        if not lacking:
            return None
        data = canonical({"schemaVersion": 1, "left": [str(digest) for digest in lacking]})
        path = self._folder / f"{_stem(manifest)}.{Digest.of(data).hex[:16]}"
        self._write(path, data)
        return path

    def settle(self, manifest: Digest, brought: Iterable[Digest] = ()) -> None:
        """Make one list of all: without what is here, and without ``brought``, whose absence is damage from now on."""
        files = self._files(manifest)
        if files:
            current = self.add(manifest, self.of(manifest) - set(brought))
            self._remove(path for path in files if path != current)

    def manifests(self) -> dict[Digest, list[Path]]:
        """Return the manifests that have lists, and the lists."""
        found: dict[Digest, list[Path]] = {}
        for path in sorted(self._folder.glob("sha*-*.*")):
            with contextlib.suppress(DigestInvalid):
                found.setdefault(Digest.parse(path.stem.replace("-", ":", 1)), []).append(path)
        return found

    def prune(self, older_than: float) -> None:
        """Forget manifests that are not here, unless somebody is about to bring them, and those that are whole."""
        for manifest, files in self.manifests().items():
            if self._blob_path(manifest).exists():
                self.settle(manifest)
                continue
            with contextlib.suppress(FileNotFoundError):
                if all(path.stat().st_mtime < older_than for path in files):
                    self._remove(files)

    def _files(self, manifest: Digest) -> list[Path]:
        return sorted(self._folder.glob(f"{_stem(manifest)}.*"))

    @staticmethod
    def _remove(files: Iterable[Path]) -> None:
        for path in files:
            with disk_errors(path):
                path.unlink(missing_ok=True)


def _stem(manifest: Digest) -> str:
    return f"{manifest.algorithm}-{manifest.hex}"


def _read(path: Path) -> frozenset[Digest] | None:
    """Return the blobs of a list; none when it cannot be read: then what is missing counts as damage.

    None means that there is no such list any more.
    """
    try:
        node = Node(parse_json(path.read_bytes(), str(path)))
    except FileNotFoundError:
        return None
    except (OSError, JSONInvalid):
        return frozenset()
    keys = node.mapping(("schemaVersion", "left"), ("schemaVersion", "left"), open_=True)
    found = (child.parsed(Digest.parse) for child in keys["left"].sequence())
    return frozenset(digest for digest in found if digest is not None)
