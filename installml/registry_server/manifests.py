"""Manifests over HTTP: pulling, pushing with every reference checked, deleting.

Source: distribution-spec, "Pulling manifests", "Pushing Manifests", "Deleting tags", "Deleting Manifests".
"""

from __future__ import annotations

import contextlib

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..digest import Digest
from ..errors import ReferenceInvalid, UsageError
from ..reference import check_tag
from ..spec.canonical import MAX_MANIFEST, parse_json
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index, Manifest, as_referrer, parse_manifest
from ..spec.media import IMAGE_MANIFEST
from .answers import Refusal, content_headers
from .bodies import read_small
from .storage import Repository, StoredManifest

__all__ = ["delete", "pull", "push"]

_MAX_TAGS = 100
_ELSEWHERE = ("nondistributable", "rootfs.foreign")
"""Parts of the media types whose bytes are fetched from elsewhere (image-spec, "Non-Distributable Layers"; Docker's
image manifest version 2, schema 2, "foreign" layers)."""


def _is_digest(target: str) -> bool:
    return ":" in target


async def pull(request: Request, repository: Repository, target: str) -> Response:
    """Answer GET and HEAD of a manifest."""
    manifest = await run_in_threadpool(_find, repository, target)
    if manifest is None:
        raise _unknown(repository, target)
    headers = content_headers(manifest.digest, manifest.media_type, len(manifest.data))
    return Response(b"" if request.method == "HEAD" else manifest.data, headers=headers)


def _find(repository: Repository, target: str) -> StoredManifest | None:
    try:
        digest = Digest.parse(target) if _is_digest(target) else repository.tag(target)
    except ReferenceInvalid:
        return None  # what cannot be a tag is not there
    return repository.manifest(digest) if digest else None


def _unknown(repository: Repository, target: str) -> Refusal:
    code = "MANIFEST_UNKNOWN" if repository.exists() else "NAME_UNKNOWN"
    return Refusal(404, code, "there is no such manifest", detail={"reference": target[:200]})


async def push(request: Request, repository: Repository, target: str) -> Response:
    """Answer PUT of a manifest, by tag or by digest (with any number of tags as parameters)."""
    tags, expected = _named(request, target)
    data = await read_small(request, MAX_MANIFEST)
    header = request.headers.get("content-type", "").partition(";")[0].strip()
    digest, subject = await run_in_threadpool(_accept, repository, data, header, expected, tags)
    headers = {"Location": f"/v2/{repository.name}/manifests/{digest}", "Docker-Content-Digest": str(digest)}
    if subject is not None:
        headers["OCI-Subject"] = str(subject)
    if tags and _is_digest(target):
        headers["OCI-Tag"] = ", ".join(tags)
    return Response(status_code=201, headers=headers)


def _named(request: Request, target: str) -> tuple[list[str], Digest | None]:
    if _is_digest(target):
        tags = request.query_params.getlist("tag")
        if len(tags) > _MAX_TAGS:
            raise Refusal(414, "UNSUPPORTED", f"at most {_MAX_TAGS} tags can be given at once")
        return [_checked(tag) for tag in tags], Digest.parse(target)
    spelled = request.query_params.get("digest")
    return [_checked(target)], Digest.parse(spelled) if spelled else None


def _checked(tag: str) -> str:
    try:
        return check_tag(tag)
    except ReferenceInvalid as error:
        raise Refusal(400, "MANIFEST_INVALID", error.message) from error


def _accept(
    repository: Repository, data: bytes, header: str, expected: Digest | None, tags: list[str]
) -> tuple[Digest, Digest | None]:
    digest = Digest.of(data, expected.algorithm if expected else "sha256")
    if expected and digest != expected:
        raise Refusal(400, "DIGEST_INVALID", f"the manifest hashes to {digest}, not to {expected}")
    stored = StoredManifest(header or _declared_type(data), data, digest)
    parsed = _parse(stored)
    _keep(repository, stored, parsed, tags)
    return digest, parsed.subject.digest if parsed.subject else None


def _declared_type(data: bytes) -> str:
    try:
        value = parse_json(data, "the manifest")
    except UsageError as error:
        raise Refusal(400, "MANIFEST_INVALID", error.message) from error
    named = value.get("mediaType") if isinstance(value, dict) else None
    return named if isinstance(named, str) else IMAGE_MANIFEST


def _parse(stored: StoredManifest) -> Manifest | Index:
    try:
        return parse_manifest(stored.data, stored.media_type, "the manifest")
    except UsageError as error:
        raise Refusal(400, "MANIFEST_INVALID", error.message) from error


def _keep(repository: Repository, stored: StoredManifest, parsed: Manifest | Index, tags: list[str]) -> None:
    missing = [
        str(one.digest) for one in parsed.blobs if not _is_elsewhere(one) and not repository.has_blob(one.digest)
    ]
    missing += [str(one.digest) for one in parsed.manifests if not repository.has_manifest(one.digest)]
    if missing:
        raise Refusal(
            400,
            "MANIFEST_BLOB_UNKNOWN",
            f"the manifest names {missing[0]}, which is not in this repository",
            detail=[{"digest": digest} for digest in missing[:100]],
        )
    if parsed.subject is not None:  # first: a note without its manifest is passed over, the other way round is a loss
        repository.add_referrer(parsed.subject.digest, _described(stored, parsed), stored.digest)
    repository.put_manifest(stored)
    for tag in tags:
        repository.set_tag(tag, stored.digest)


def _is_elsewhere(descriptor: Descriptor) -> bool:
    return any(part in descriptor.media_type for part in _ELSEWHERE)


def _described(stored: StoredManifest, parsed: Manifest | Index) -> dict[str, object]:
    return as_referrer(Descriptor(stored.media_type, stored.digest, len(stored.data)), parsed).to_json()


async def delete(request: Request, repository: Repository, target: str) -> Response:
    """Answer DELETE of a manifest (with the tags that name it) or of a tag alone."""
    if not await run_in_threadpool(_remove, repository, target):
        raise _unknown(repository, target)
    return Response(status_code=202)


def _remove(repository: Repository, target: str) -> bool:
    if not _is_digest(target):
        try:
            return repository.delete_tag(target)
        except ReferenceInvalid:
            return False
    digest = Digest.parse(target)
    stored = repository.manifest(digest)
    if stored is None or not repository.delete_manifest(digest):
        return False
    with contextlib.suppress(Refusal):  # kept by an earlier version that was less strict: it referred to nothing
        if subject := _parse(stored).subject:
            repository.remove_referrer(subject.digest, digest)
    return True
