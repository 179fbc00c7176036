"""Blobs over HTTP: pulling, pushing in one or many pieces, mounting, deleting (distribution-spec, "Pull", "Push")."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Self

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from ..digest import Digest
from ..errors import DigestMismatch, DiskFull
from .answers import BlobResponse, Refusal, Span, content_headers, parse_content_range, parse_range
from .bodies import blocks
from .storage import Repository
from .uploads import Upload

__all__ = ["begin", "cancel", "close", "delete", "patch", "pull", "status"]

_OCTETS = "application/octet-stream"
_FLUSHED_AT_ONCE = 128 << 20  # bytes: the disk works while bytes arrive, instead of when all are there


async def pull(request: Request, repository: Repository, target: str) -> Response:
    """Answer GET and HEAD of a blob."""
    digest = Digest.parse(target)
    if request.method == "HEAD":
        size = await run_in_threadpool(repository.blob_size, digest)
        if size is None:
            raise _unknown(digest)
        return Response(headers=_headers(digest, size))
    opened = await run_in_threadpool(repository.open_blob, digest)
    if opened is None:
        raise _unknown(digest)
    file, size = opened
    headers = _headers(digest, size)
    try:
        span = _wanted(request, headers["ETag"], size)
    except Refusal:
        file.close()
        raise
    return BlobResponse(file, size, span, headers)


def _wanted(request: Request, etag: str, size: int) -> Span | None:
    if request.headers.get("if-range", etag) != etag:
        return None  # RFC 9110, section 13.1.5
    return parse_range(request.headers.get("range", ""), size)


def _headers(digest: Digest, size: int) -> dict[str, str]:
    return {**content_headers(digest, _OCTETS, size), "Accept-Ranges": "bytes"}


def _unknown(digest: Digest) -> Refusal:
    return Refusal(404, "BLOB_UNKNOWN", "the blob is not in this repository", detail={"digest": str(digest)})


async def delete(request: Request, repository: Repository, target: str) -> Response:
    """Answer DELETE of a blob."""
    digest = Digest.parse(target)
    if not await run_in_threadpool(repository.delete_blob, digest):
        raise _unknown(digest)
    return Response(status_code=202)


async def begin(request: Request, repository: Repository, _target: str) -> Response:
    """Answer POST of an upload: a session, a mount, or the whole blob at once."""
    query = request.query_params
    if "mount" in query and await run_in_threadpool(_mount, request, repository, Digest.parse(query["mount"])):
        return _created(repository, Digest.parse(query["mount"]))
    digest = Digest.parse(query["digest"]) if "digest" in query else None
    algorithm = query.get("digest-algorithm", digest.algorithm if digest else "sha256")
    if algorithm not in {"sha256", "sha512"}:
        raise Refusal(400, "DIGEST_INVALID", f"the algorithm {algorithm[:60]!r} is not supported")
    upload = await run_in_threadpool(repository.storage.uploads.begin, repository, algorithm)
    if digest is None:
        return _progress(upload, 202)
    with _Claim(upload):
        try:
            await _receive(request, upload)
        except BaseException:
            upload.discard()  # nobody was told of the session, so nobody can come back to it
            raise
        return await _finish(repository, upload, digest)


def _mount(request: Request, repository: Repository, digest: Digest) -> bool:
    name = request.query_params.get("from")
    return repository.mount(digest, repository.storage.repository(name) if name else None)


class _Claim:
    """Holds an upload for one request."""

    def __init__(self, upload: Upload) -> None:
        self._upload = upload

    def __enter__(self) -> None:
        if not self._upload.claim():
            raise Refusal(409, "BLOB_UPLOAD_INVALID", "another request is writing to this upload")

    def __exit__(self, *_: object) -> None:
        self._upload.release()


async def patch(request: Request, repository: Repository, target: str) -> Response:
    """Answer PATCH: one chunk, or a stream of unknown length."""
    upload = await _find(repository, target)
    with _Claim(upload):
        await _receive(request, upload)
    return _progress(upload, 202)


async def close(request: Request, repository: Repository, target: str) -> Response:
    """Answer PUT of an upload: perhaps a last chunk, then the digest of the whole."""
    upload = await _find(repository, target)
    spelled = request.query_params.get("digest")
    if spelled is None:
        raise Refusal(400, "DIGEST_INVALID", "the closing request must name the digest of the whole blob")
    digest = Digest.parse(spelled)
    with _Claim(upload):
        upload.expect(digest.algorithm)
        await _receive(request, upload)
        return await _finish(repository, upload, digest)


async def status(request: Request, repository: Repository, target: str) -> Response:
    """Answer GET of an upload: how far it is."""
    return _progress(await _find(repository, target), 204)


async def cancel(request: Request, repository: Repository, target: str) -> Response:
    """Answer DELETE of an upload."""
    upload = await _find(repository, target)
    with _Claim(upload):
        await run_in_threadpool(upload.discard)
    return Response(status_code=204)


async def _find(repository: Repository, session: str) -> Upload:
    upload = await run_in_threadpool(repository.storage.uploads.find, repository, session)
    if upload is None:
        raise Refusal(404, "BLOB_UPLOAD_UNKNOWN", "there is no such upload in this repository")
    return upload


async def _receive(request: Request, upload: Upload) -> None:
    """Append the body to ``upload``; bytes that came before the client went away are kept for it to go on from."""
    claimed = _claimed(request, upload)
    begun = upload.offset
    try:
        await _write_all(request, upload, begun + claimed.size if claimed else None)
    except DiskFull:
        await run_in_threadpool(upload.discard)  # its bytes are part of what fills the disk
        raise
    if claimed and upload.offset - begun != claimed.size:
        await run_in_threadpool(upload.rewind, begun)
        raise Refusal(400, "SIZE_INVALID", f"the chunk is not the {claimed.size} bytes that Content-Range names")


async def _write_all(request: Request, upload: Upload, end: int | None) -> None:
    flushed = upload.offset
    async with _Behind() as writing, _Behind() as flushing:
        async for pieces in blocks(request):
            await writing.done()  # one block is hashed and written while the next arrives
            if end is not None and upload.offset > end:
                break
            writing.begin(upload.write, *pieces)
            if upload.offset - flushed >= _FLUSHED_AT_ONCE and flushing.idle:
                flushed = upload.offset
                flushing.begin(upload.flush)
        await writing.done()


class _Behind:
    """One piece of work at a time in a thread, behind what goes on here; never left before it is over."""

    def __init__(self) -> None:
        self._work: asyncio.Future[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is being done."""
        return self._work is None or self._work.done()

    def begin(self, work: Callable[..., None], *arguments: object) -> None:
        """Start; what was done before must be over."""
        self._work = asyncio.ensure_future(run_in_threadpool(work, *arguments))

    async def done(self) -> None:
        """Wait until it is done; raises what it raised."""
        if self._work is not None:
            await self._work

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._work is not None:
            await asyncio.wait([self._work])  # the client went away: what it sent is still written
            if not self._work.cancelled():
                self._work.exception()


def _claimed(request: Request, upload: Upload) -> Span | None:
    header = request.headers.get("content-range")
    if header is None:
        return None
    span = parse_content_range(header)
    if span.start != upload.offset:
        raise Refusal(
            416,
            "BLOB_UPLOAD_INVALID",
            f"the next chunk starts at {upload.offset}, not at {span.start}",
            headers=_progress_headers(upload),
        )
    return span


async def _finish(repository: Repository, upload: Upload, digest: Digest) -> Response:
    try:
        await run_in_threadpool(upload.finish, digest)
    except DigestMismatch as error:
        raise Refusal(400, "DIGEST_INVALID", error.message) from error
    return _created(repository, digest)


def _created(repository: Repository, digest: Digest) -> Response:
    return Response(
        status_code=201,
        headers={"Location": f"/v2/{repository.name}/blobs/{digest}", "Docker-Content-Digest": str(digest)},
    )


def _progress(upload: Upload, status: int) -> Response:
    return Response(status_code=status, headers=_progress_headers(upload))


def _progress_headers(upload: Upload) -> dict[str, str]:
    # nothing received has no notation of its own in the specification; 0-0 is what other registries say
    return {
        "Location": f"/v2/{upload.repository.name}/blobs/uploads/{upload.id}",
        "Range": f"0-{max(0, upload.offset - 1)}",
        "Docker-Upload-UUID": upload.id,
    }
