"""One upload session of a registry: the requests that a blob takes on its way up (distribution-spec, "Push").

Here: PUT, PATCH, the state of a session, and giving it up; each new ``Location`` is followed. Not here: which of them a
blob needs, and what is done when one fails (``uploads``).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from ..digest import Digest
from .answers import failure
from .endpoint import RepositoryEndpoint
from .errors import RegistryError, TransportError, UnexpectedAnswer
from .http import Blocks, Response
from .sending import FileBody

__all__ = ["PUSH_HINTS", "UploadSession", "open_session"]

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

_RANGE = re.compile(r"(?:bytes=)?0-(\d{1,19})")
_TRIES, _BUSY = 6, 0.25  # times, and seconds between the first two; doubled each time
_OCTETS = {"Content-Type": "application/octet-stream"}


def open_session(at: RepositoryEndpoint) -> UploadSession:
    """Return a fresh session.

    Raises:
        RegistryError: The registry opens none; a missing repository, a quota, a lack of rights say so here.
    """
    # Opening a session twice leaves an empty one behind, which registries sweep away: it may be repeated.
    with at.send("POST", "blobs/uploads/", "pull", "push", body=b"", again=True) as response:
        if response.status != 202:
            raise failure(response, f"an upload to {at}", known=at.registry.quirks.hints + PUSH_HINTS)
        response.drain()
        return UploadSession.begun(at, response)


class UploadSession:
    """A blob that a registry is waiting for. Used by one thread at a time.

    Args:
        at: The repository.
        url: Where it goes on.
        least: Fewest bytes that the registry takes in a chunk that is not the last (``OCI-Chunk-Min-Length``).

    Attributes:
        url: Where it goes on now.
        least: As above.
        fresh: Whether nothing has been sent to it yet.
    """

    def __init__(self, at: RepositoryEndpoint, url: str, least: int = 0, *, fresh: bool = True) -> None:
        self._at = at
        self.url = url
        self.least = least
        self.fresh = fresh

    @classmethod
    def begun(cls, at: RepositoryEndpoint, response: Response) -> UploadSession:
        """Return the session that ``response`` offers: ``Location``, absolute or relative, its query kept."""
        location = response.headers.get("Location", "")
        if not location:
            raise UnexpectedAnswer(f"{response.place} opened an upload and did not say where", subject=str(at))
        least = response.headers.get("OCI-Chunk-Min-Length", "")
        return cls(at, at.registry.continued(response, location), int(least) if re.fullmatch(r"\d{1,12}", least) else 0)

    def put(self, digest: Digest, body: bytes | Blocks = b"") -> None:
        """Close the session: what was sent, followed by ``body``, is the blob ``digest``.

        Raises:
            DigestRefused: The registry computed another digest.
        """
        self.fresh = False
        joint = "&" if urlsplit(self.url).query else "?"
        url = f"{self.url}{joint}digest={quote(str(digest), safe='')}"
        with self._at.send("PUT", url, "pull", "push", headers=_OCTETS, body=body, follow=False) as response:
            if response.status not in {200, 201, 202, 204}:
                raise self._refusal(response, f"the blob {self._at}@{digest}")
            response.drain()

    def patch(self, file: BinaryIO, start: int, stop: int, report: Callable[[int], None], *, ranged: bool) -> int:
        """Send the bytes from ``start`` to ``stop``.

        Args:
            file: The file that has them.
            start: First byte: where the session stands.
            stop: Behind the last byte.
            report: As ``FileBody``.
            ranged: As a chunk, with Content-Range; else as a stream, which the registry must be known to take.

        Returns:
            The offset at which the session stands by the registry's word, as far as that makes sense; else ``stop``
            (ECR's ``Range`` does not advance).
        """
        self.fresh = False
        body = FileBody(file, start, stop, report=report, clock=self._at.registry.client.clock)
        # distribution-spec, "Pushing a blob in chunks": no unit before the numbers
        headers = {**_OCTETS, **({"Content-Range": f"{start}-{stop - 1}"} if ranged else {})}
        with self._at.send("PATCH", self.url, "pull", "push", headers=headers, body=body, follow=False) as response:
            if response.status not in {200, 201, 202, 204}:
                raise self._refusal(response, f"a part of a blob of {self._at}")
            response.drain()
            self._follow(response)
            told = _offset(response)
        partial = told is not None and start < told < stop and self._at.registry.quirks.range_advances
        return told if partial and told is not None else stop

    def offset(self) -> int | None:
        """Return how many bytes have arrived; None when the session is over or its registry does not say."""
        asking = self._at.send
        with suppress(RegistryError, TransportError), asking("GET", self.url, "pull", "push", follow=False) as response:
            if response.status in {200, 204}:
                response.drain()
                self._follow(response)
                return _offset(response)
        return None

    def cancel(self) -> None:
        """Give the session up, so that the registry need not keep what came; one that is over is no failure."""
        with suppress(RegistryError, TransportError):
            for attempt in range(_TRIES):
                with self._at.send("DELETE", self.url, "pull", "push", body=b"", follow=False) as response:
                    response.drain()
                if response.status != 409:
                    break
                self._at.registry.client.sleep(_BUSY * 2**attempt)  # the registry still reads what was on the wire

    def _refusal(self, response: Response, what: str) -> RegistryError:
        return failure(response, what, known=self._at.registry.quirks.hints + PUSH_HINTS)

    def _follow(self, response: Response) -> None:
        if location := response.headers.get("Location", ""):
            self.url = self._at.registry.continued(response, location)


def _offset(response: Response) -> int | None:
    """Return the offset that ``Range: 0-N`` tells. ``0-0`` is said of an empty session as well, so it counts as 0."""
    found = _RANGE.fullmatch(response.headers.get("Range", "").strip())
    if found is None:
        return None
    last = int(found[1])
    return last + 1 if last else 0
