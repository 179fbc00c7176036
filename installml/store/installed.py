"""Installed models: one record for each name and version, and the folder that it names.

``installed/<registry>/<repository>/@<version>/record.json`` says what is in use; the files lie beside it in a folder
named by the manifest's digest. Writing the record is the one step that puts a new version in use, so a failure at
any earlier moment leaves the previous one as it was.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..digest import Digest
from ..errors import NotFound, StoreUnusable
from ..reference import Reference, check_repository, check_tag
from ..spec.canonical import canonical
from ..spec.descriptor import Descriptor, parse_descriptor
from .disk import damaged, encode_host, read_document
from .files import disk_errors, fsync_folder, make_folder, remove_empty, remove_tree, unique_suffix, write_whole

__all__ = ["InstalledStore", "Record"]

_KEYS = ("schemaVersion", "reference", "name", "version", "descriptor", "tree", "variant", "signers", "source", "size",
         "linked", "installedAt", "runtime", "python", "allowUnsigned", "partial")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """What is installed, from where, and how it was proved.

    Attributes:
        reference: What was asked for, with the digest that it named.
        name: Package name.
        version: Package version; the key under which it is installed.
        descriptor: The manifest.
        path: The read-only folder.
        size: Bytes of all its blobs.
        source: Where the bytes came from.
        variant: Hardware profile that fits this machine, or empty.
        signers: Who vouches for it; empty when nobody was asked.
        linked: How the files share the store's bytes.
        installed_at: Seconds since the epoch.
        runtime: Key of the runtime environment, or empty.
        python: Interpreter of that environment, or empty.
        allow_unsigned: Whether somebody said that no signature is fine.
        partial: Paths of the files that are installed when not all are; empty when the model is whole.
    """

    reference: Reference
    name: str
    version: str
    descriptor: Descriptor
    path: Path
    size: int
    source: str
    variant: str = ""
    signers: tuple[str, ...] = ()
    linked: str = ""
    installed_at: int = 0
    runtime: str = ""
    python: str = ""
    allow_unsigned: bool = False
    partial: tuple[str, ...] = ()

    def has(self, path: str) -> bool:
        """Return whether the file ``path`` of the package is installed."""
        return not self.partial or path in self.partial

    def to_json(self) -> dict[str, Any]:
        """Return the value of record.json."""
        return {
            "schemaVersion": 1,
            "reference": str(self.reference),
            "name": self.name,
            "version": self.version,
            "descriptor": self.descriptor.bare().to_json(),
            "tree": self.path.name,
            "variant": self.variant,
            "signers": list(self.signers),
            "source": self.source,
            "size": self.size,
            "linked": self.linked,
            "installedAt": self.installed_at,
            "runtime": self.runtime,
            "python": self.python,
            "allowUnsigned": self.allow_unsigned,
            "partial": list(self.partial),
        }


@dataclass(frozen=True, slots=True)
class InstalledStore:
    """The folder ``installed/`` of a store."""

    root: Path
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", self.root / "installed")

    def place(self, reference: Reference, version: str) -> Path:
        """Return the folder of one name and version."""
        repository = check_repository(reference.repository)
        return self.folder.joinpath(encode_host(reference.registry), *repository.split("/"), f"@{check_tag(version)}")

    @contextlib.contextmanager
    def staging(self, descriptor: Descriptor) -> Iterator[Path]:
        """Yield a folder name on the same file system; what is left of it afterwards is removed."""
        path = make_folder(self.root / "ingest") / f"tree-{descriptor.digest.short}.{unique_suffix()}"
        try:
            yield path
        finally:
            remove_tree(path)

    def adopt(self, staging: Path, place: Path, descriptor: Descriptor, partial: Sequence[str] = ()) -> Path:
        """Move the finished tree to its place; somebody else's finished tree of the same files is as good.

        Args:
            staging: The tree.
            place: Folder of its name and version.
            descriptor: The manifest.
            partial: Paths of its files when not all are there; each selection has a folder name of its own.

        Returns:
            The tree's final path.
        """
        make_folder(place)
        digest = _selection(descriptor.digest, partial) if partial else descriptor.digest
        target = place / f"{digest.algorithm}-{digest.hex}"
        with disk_errors(target):
            try:
                os.utime(target)  # wanted: a sweep that runs now keeps it
            except FileNotFoundError:
                staging.chmod(0o755)  # a folder is renamed by changing its "..", which asks for write permission
                self._rename(staging, target)
                target.chmod(0o555)
        fsync_folder(place)
        return target

    @staticmethod
    def _rename(staging: Path, target: Path) -> None:
        try:
            staging.rename(target)
        except OSError:
            if not target.exists():
                raise

    def record(self, record: Record) -> None:
        """Put ``record`` in use and remove the tree that it replaces.

        Only that one: another tree may belong to an installation that is about to put its own record.
        """
        place = record.path.parent
        replaced = self._tree_in_use(place)
        write_whole(place / "record.json", canonical(record.to_json()), via=self.root / "ingest")
        if replaced is not None and replaced != record.path:
            self._discard(replaced)

    def _discard(self, tree: Path) -> None:
        """Remove ``tree``; it leaves its name first, so that no moment shows half of it there."""
        aside = make_folder(self.root / "ingest") / f"tree-gone.{unique_suffix()}"
        with disk_errors(tree), contextlib.suppress(FileNotFoundError):
            tree.chmod(0o755)
            tree.rename(aside)
        remove_tree(aside)

    def _tree_in_use(self, place: Path) -> Path | None:
        try:
            return self.read(place).path
        except (NotFound, StoreUnusable):
            return None

    def sweep(self, older_than: float) -> int:
        """Remove trees that no record names and that nobody has made since ``older_than``.

        Returns:
            How many: what a process that was killed between tree and record has left.
        """
        count = 0
        for tree in list(self.folder.rglob("@*/sha*-*")):
            with contextlib.suppress(FileNotFoundError):
                if tree.stat().st_mtime < older_than and tree != self._tree_in_use(tree.parent):
                    self._discard(tree)
                    remove_empty(tree.parent, self.folder)
                    count += 1
        return count

    def read(self, place: Path) -> Record:
        """Return the record in ``place``.

        Raises:
            NotFound: Nothing is installed there.
            StoreUnusable: The record is damaged.
        """
        path = place / "record.json"
        try:
            data = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            raise NotFound(f"{place.name[1:]} is not installed") from error
        except OSError as error:
            raise StoreUnusable(f"{error.strerror}: {path}", subject=str(path)) from error
        node = read_document(data, path)
        keys = node.mapping(_KEYS, ("reference", "descriptor", "tree", "version"), open_=True)
        descriptor = parse_descriptor(keys["descriptor"])
        reference = keys["reference"].parsed(Reference.parse)
        tree = keys["tree"].string(pattern="sha(256|512)-[0-9a-f]{64,128}")
        if descriptor is None or reference is None or node.violations:
            raise damaged(path, node.violations)
        if not (place / tree).is_dir():  # removed in the moment between somebody's tree and record
            raise NotFound(f"{reference} is not installed", subject=str(reference))
        return Record(
            reference=reference,
            name=keys["name"].string(),
            version=keys["version"].string(),
            descriptor=descriptor,
            path=place / tree,
            size=keys["size"].integer(),
            source=keys["source"].string(),
            variant=keys["variant"].string(),
            signers=keys["signers"].strings(),
            linked=keys["linked"].string(),
            installed_at=keys["installedAt"].integer(),
            runtime=keys["runtime"].string(),
            python=keys["python"].string(),
            allow_unsigned=keys["allowUnsigned"].value is True,
            partial=keys["partial"].strings(),
        )

    def records(self) -> Iterator[Record]:
        """Yield every installed model, by name and version."""
        for path in sorted(self.folder.rglob("@*/record.json")):
            with contextlib.suppress(NotFound):
                yield self.read(path.parent)

    def find(self, reference: Reference) -> list[Record]:
        """Return the installed models that ``reference`` may mean, the newest installation first.

        A bare name matches in any registry; a tag or digest must agree.
        """
        found = [record for record in self.records() if _matches(record, reference)]
        return sorted(found, key=lambda record: record.installed_at, reverse=True)

    def remove(self, record: Record) -> None:
        """Remove one installed model: first the record, so that nobody starts using what goes."""
        place = record.path.parent
        with disk_errors(place):
            (place / "record.json").unlink(missing_ok=True)
        self._discard(record.path)
        remove_empty(place, self.folder)


def _selection(manifest: Digest, paths: Sequence[str]) -> Digest:
    """Return what names some of the files of a manifest."""
    return Digest.of(canonical([str(manifest), *sorted(paths)]))


def _matches(record: Record, wanted: Reference) -> bool:
    own = record.reference
    return (
        own.repository == wanted.repository
        and wanted.registry in ("", own.registry)
        and wanted.tag in ("", record.version, own.tag)
        and wanted.digest in (None, record.descriptor.digest)
    )
