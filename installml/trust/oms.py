"""OpenSSF Model Signing v1: a statement about every file of a model, by path and digest.

Built from the digests of a manifest, so that no file is read to be signed; checked against digests that somebody
computed. Source: the OMS specification (ossf/model-signing-spec) and model_signing 1.1, "Payload" and "Manifest".

The subject is the model's name with a root digest: SHA-256 over the files' digests, in the order of the list. Files
are listed by path, compared component by component.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from ..digest import Digest
from ..spec.node import Node
from .dsse import check
from .errors import EvidenceInvalid
from .statement import OMS, Statement, Subject

__all__ = ["GIT_PATHS", "SIGNATURE_FILE", "ModelFiles", "build", "read"]

SIGNATURE_FILE = "model.sig"
"""Where the bundle lies in a model's folder."""
GIT_PATHS = (".git", ".gitattributes", ".github", ".gitignore")
"""What model_signing leaves out of every model, when it signs and when it verifies: files of git at the top."""

_MOST_FILES = 100_000


@dataclass(frozen=True, slots=True)
class ModelFiles:
    """What a statement says about a model's files.

    Attributes:
        name: What the signer calls the model; informative.
        files: Path to digest.
        ignored: Paths that the signature says nothing about, with everything below them.
    """

    name: str
    files: Mapping[str, Digest] = field(hash=False)
    ignored: tuple[str, ...] = ()

    def covers(self, path: str) -> bool:
        """Return whether the signature says anything about ``path``."""
        return not any(
            path == each or path.startswith(f"{each}/") for each in (*self.ignored, *GIT_PATHS, SIGNATURE_FILE)
        )

    def differences(self, found: Mapping[str, Digest], *, subset: bool = False) -> list[str]:
        """Return how files on disk differ from what was signed, one sentence each; empty when they do not.

        Args:
            found: Path to sha256 digest of each file.
            subset: Some files may be missing: only a part was installed.
        """
        extra = [f"{path} was not signed" for path in found if path not in self.files and self.covers(path)]
        changed = [f"{path} was changed" for path, digest in self.files.items() if found.get(path, digest) != digest]
        missing = [] if subset else [f"{path} is missing" for path in self.files if path not in found]
        return sorted(changed) + sorted(missing) + sorted(extra)


def build(
    name: str, files: Iterable[tuple[str, Digest]], annotations: Mapping[str, str] = MappingProxyType({})
) -> Statement:
    """Return the statement about ``files``.

    Args:
        name: The model's name.
        files: Path and sha256 digest of each; those that model_signing leaves out are left out.
        annotations: What the signer claims besides (``claims.annotations_of``). Without the claims of the signature
            over the manifest this one would count where that one does not: for ever, and under any name.

    Raises:
        EvidenceInvalid: No file, a path twice, or a digest of another algorithm: model_signing knows no sha512.
    """
    listed = sorted(files, key=lambda each: each[0].split("/"))
    kept = [(path, digest) for path, digest in listed if path.partition("/")[0] not in (*GIT_PATHS, SIGNATURE_FILE)]
    other = next((path for path, digest in kept if digest.algorithm != "sha256"), "")
    if other:
        raise EvidenceInvalid(f"{other} has no sha256 digest, which OpenSSF Model Signing needs", subject=other)
    if not kept or len(dict(kept)) != len(kept):
        raise EvidenceInvalid(f"{name}: a model signature needs files, each once", subject=name)
    predicate = {
        "serialization": {
            "method": "files",
            "hash_type": "sha256",
            "allow_symlinks": False,
            "ignore_paths": sorted((*GIT_PATHS, SIGNATURE_FILE)),
        },
        "resources": [{"name": path, "algorithm": "sha256", "digest": digest.hex} for path, digest in kept],
    }
    return Statement((Subject(name, (_root(digest for _, digest in kept),), annotations),), OMS, predicate)


def read(statement: Statement, origin: str) -> ModelFiles:
    """Return what a statement says about files.

    Raises:
        EvidenceInvalid: Another predicate, not one subject, a root digest that is not that of the list, a path twice,
            or a way of hashing that is not read: shards, BLAKE2, BLAKE3, symbolic links followed.
    """
    if statement.predicate_type != OMS:
        raise EvidenceInvalid(f"{origin}: the predicate is {statement.predicate_type}, not {OMS}", subject=origin)
    node = Node(dict(statement.predicate), "predicate")
    fields = node.mapping(("serialization", "resources"), ("serialization", "resources"), open_=True)
    ignored = _serialization(fields["serialization"])
    files = [_resource(each) for each in fields["resources"].sequence(_MOST_FILES)]
    check(node, origin)
    named = {path: digest for path, digest in files if digest is not None}
    if not named or len(named) != len(files):
        raise EvidenceInvalid(f"{origin}: no file is named, or one twice", subject=origin)
    if len(statement.subjects) != 1 or statement.subjects[0].digests != (_root(named.values()),):
        raise EvidenceInvalid(f"{origin}: the root digest is not that of the files listed", subject=origin)
    return ModelFiles(statement.subjects[0].name, named, ignored)


def _serialization(node: Node) -> tuple[str, ...]:
    fields = node.mapping(
        ("method", "hash_type", "allow_symlinks", "ignore_paths"), ("method", "hash_type"), open_=True
    )
    fields["method"].choice(("files",))
    fields["hash_type"].choice(("sha256",))
    if fields["allow_symlinks"].value not in (None, False):
        fields["allow_symlinks"].fail("signatures over what symbolic links lead to are not read")
    ignored = tuple(path.removesuffix("/") for path in fields["ignore_paths"].strings(most=1000))
    if any(path in {"", ".", "/"} for path in ignored):
        fields["ignore_paths"].fail("leaves out the whole model")
    return ignored


def _resource(node: Node) -> tuple[str, Digest | None]:
    fields = node.mapping(("name", "algorithm", "digest"), ("name", "algorithm", "digest"), open_=True)
    fields["algorithm"].choice(("sha256",))
    return fields["name"].string(), fields["digest"].parsed(lambda text: Digest.parse(f"sha256:{text}"))


def _root(digests: Iterable[Any]) -> Digest:
    state = hashlib.sha256()
    for digest in digests:
        state.update(bytes.fromhex(digest.hex))
    return Digest("sha256", state.hexdigest())
