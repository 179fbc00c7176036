"""Lists over HTTP: tags, referrers, and the catalog (distribution-spec, "Content Discovery")."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ..digest import Digest
from ..spec.canonical import MAX_MANIFEST, canonical
from ..spec.media import IMAGE_INDEX
from .answers import Refusal, link_next
from .storage import RegistryStorage, Repository, tag_order

__all__ = ["catalog", "referrers", "tags"]

_CATALOG_PAGE = 1000
_REFERRERS_BYTES = MAX_MANIFEST - 4096
"""Descriptors in one page of referrers: the answer is a manifest and must fit into what clients accept as one."""


async def tags(request: Request, repository: Repository, _target: str) -> Response:
    """Answer GET of a repository's tags."""
    if not await run_in_threadpool(repository.exists):
        raise Refusal(404, "NAME_UNKNOWN", "there is no such repository")
    everything = await run_in_threadpool(repository.tags)
    page, headers = _page(request, everything, tag_order, len(everything))
    return JSONResponse({"name": repository.name, "tags": page}, headers=headers)


async def catalog(request: Request, storage: RegistryStorage) -> Response:
    """Answer GET of the repositories' names (an extension that the specification leaves to registries)."""
    everything = await run_in_threadpool(storage.names)
    page, headers = _page(request, everything, str, _CATALOG_PAGE)
    return JSONResponse({"repositories": page}, headers=headers)


def _page(
    request: Request, everything: Sequence[str], order: Callable[[str], Any], default: int
) -> tuple[list[str], dict[str, str]]:
    count = _count(request, default)
    last = request.query_params.get("last")
    rest = [name for name in everything if last is None or order(name) > order(last)]
    page = rest[:count]
    if not page or len(page) == len(rest):
        return page, {}
    return page, link_next(request.url.path, urlencode({"n": count, "last": page[-1]}))


def _count(request: Request, default: int) -> int:
    text = request.query_params.get("n")
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise Refusal(400, "UNSUPPORTED", f"n must be a whole number, not {text[:40]!r}")
    return int(text)


async def referrers(request: Request, repository: Repository, target: str) -> Response:
    """Answer GET of the manifests whose subject is a digest; an unknown subject or repository has none."""
    wanted = request.query_params.get("artifactType")
    after = request.query_params.get("last")
    found, last = await run_in_threadpool(
        _collect, repository, Digest.parse(target), wanted, Digest.parse(after) if after else None
    )
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    if last is not None:
        query = {"last": str(last), **({"artifactType": wanted} if wanted else {})}
        headers |= link_next(request.url.path, urlencode(query))
    index = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": found}
    return Response(canonical(index), headers=headers, media_type=IMAGE_INDEX)


def _collect(
    repository: Repository, subject: Digest, wanted: str | None, after: Digest | None
) -> tuple[list[dict[str, Any]], Digest | None]:
    found: list[dict[str, Any]] = []
    size, last = 0, None
    for digest, data in repository.referrers(subject):
        descriptor = json.loads(data)
        if (after and digest <= after) or (wanted and descriptor.get("artifactType") != wanted):
            continue
        size += len(data) + 1
        if found and size > _REFERRERS_BYTES:
            return found, last
        found.append(descriptor)
        last = digest
    return found, None
