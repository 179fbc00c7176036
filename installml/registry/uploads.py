"""Blobs on their way up: POST for a session, then one PUT with Content-Length (distribution-spec, "POST then PUT").

That way is the one that every registry takes (docs/registries.md). Nothing is held in memory but the block that is
being sent and the one after it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from urllib.parse import quote, urlsplit

from ..digest import CHUNK, Digest, Readable, VerifyingReader
from ..spec.descriptor import Descriptor
from .answers import failure
from .endpoint import RepositoryEndpoint
from .errors import (
    ConnectionLost,
    DigestRefused,
    NotFoundInRegistry,
    RateLimited,
    RegistryError,
    ServerFailed,
    TimedOut,
    TransportError,
    Unauthorized,
    UnexpectedAnswer,
)
from .http import Response

__all__ = ["PUSH_HINTS", "Uploads"]

_PASSING = (ConnectionLost, TimedOut, DigestRefused, ServerFailed, RateLimited, Unauthorized, NotFoundInRegistry)
"""After these a blob that can be read again is sent again, from a fresh session, once."""

PUSH_HINTS = (
    ("does not exist in the registry with id", "Create it first: aws ecr create-repository --repository-name NAME"),
    ("quota", "The project's storage quota in the registry is used up; its owner can raise it."),
    (
        "media type",
        "The registry takes only the types that its owner allows; ask for this package's types to be allowed.",
    ),
    (
        "mediatype",
        "The registry takes only the types that its owner allows; ask for this package's types to be allowed.",
    ),
)
"""What registries say when a push is refused for a reason that somebody can remove, and who that is."""


class Uploads:
    """The upload side of one repository; shared by threads."""

    def __init__(self, at: RepositoryEndpoint) -> None:
        self._at = at
        self._sessions: dict[Digest, str] = {}
        self._lock = threading.Lock()

    def push(self, descriptor: Descriptor, content: Readable) -> None:
        """Send a blob.

        Raises:
            IntegrityError: ``content`` is not what ``descriptor`` names; the registry got no complete blob.
            RegistryError: The registry does not take it.
        """
        with self._lock:
            offered = self._sessions.pop(descriptor.digest, "")
        start = _position(content)
        session = offered or self._open()
        try:
            self._put(session, descriptor, content)
        except _PASSING:
            if start is None:
                raise
            content.seek(start)  # type: ignore[attr-defined]  # _position has tried it
            self._put(self._open(), descriptor, content)

    def mount(self, descriptor: Descriptor, origin_name: str) -> bool:
        """Ask for a blob of another repository; keep the session that may be offered instead.

        A registry that will not mount is no failure: the blob is then sent as any other.
        """
        path = f"blobs/uploads/?mount={quote(str(descriptor.digest))}&from={quote(origin_name, safe='')}"
        try:
            with self._at.send("POST", path, "pull", "push", origin_name=origin_name, body=b"") as response:
                response.drain()
                if response.status == 202:
                    with self._lock:
                        self._sessions[descriptor.digest] = self._session(response)
                return response.status == 201
        except (RegistryError, TransportError):
            return False

    def _open(self) -> str:
        # Opening a session twice leaves an empty one behind, which registries sweep away: it may be repeated.
        with self._at.send("POST", "blobs/uploads/", "pull", "push", body=b"", again=True) as response:
            if response.status != 202:
                raise failure(response, f"an upload to {self._at}", known=self._at.registry.quirks.hints + PUSH_HINTS)
            response.drain()
            return self._session(response)

    def _session(self, response: Response) -> str:
        """Return where an upload goes on: ``Location``, absolute or relative, its query kept."""
        location = response.headers.get("Location", "")
        if not location:
            raise UnexpectedAnswer(f"{response.place} opened an upload and did not say where", subject=str(self._at))
        return self._at.registry.continued(response, location)

    def _put(self, session: str, descriptor: Descriptor, content: Readable) -> None:
        joint = "&" if urlsplit(session).query else "?"
        url = f"{session}{joint}digest={quote(str(descriptor.digest), safe='')}"
        headers = {"Content-Type": "application/octet-stream"}
        body = _Body(descriptor, content) if descriptor.size else b""
        with self._at.send("PUT", url, "pull", "push", headers=headers, body=body, follow=False) as response:
            if response.status not in {200, 201, 202, 204}:
                raise failure(
                    response,
                    f"the blob {self._at}@{descriptor.digest}",
                    known=self._at.registry.quirks.hints + PUSH_HINTS,
                )
            response.drain()


class _Body:
    """Exactly the named bytes, in blocks; the last one is held back until all of them have proved right."""

    def __init__(self, descriptor: Descriptor, content: Readable) -> None:
        self._size = descriptor.size
        self._reader = VerifyingReader.over(content, descriptor.digest, descriptor.size, "the source")

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        held = b""
        while block := self._reader.read(CHUNK):
            if held:
                yield held
            held = block
        if held:
            yield held


def _position(content: Readable) -> int | None:
    """Return where a stream stands, if it can be brought back there."""
    tell, seek = getattr(content, "tell", None), getattr(content, "seek", None)
    if tell is None or seek is None:
        return None
    try:
        position = int(tell())
        seek(position)
    except OSError:
        return None
    return position
