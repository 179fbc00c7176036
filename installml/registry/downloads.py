"""Reading blobs, whole or in parts (distribution-spec, "Pulling blobs"; RFC 9110, 14: range requests).

Here: what the head of an answer must say before a byte of its body counts, where blobs really lie, and spans. Not
here: how many parts, and when to try again (``transfer``).

Rules: one closed range a request, never several (three servers, three behaviours); ``Accept-Ranges`` is not looked
at, the 206 and where its Content-Range begins decide; a 416 is not read to its end, its Content-Length may be the
blob's (distribution 2.8); bytes that something encoded on the way are refused, they are not the blob's.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping

from ..digest import Digest
from ..errors import SizeMismatch
from ..spec.descriptor import Descriptor
from ..spec.extents import Extent
from .answers import failure
from .endpoint import RepositoryEndpoint
from .errors import ConnectionLost, RangesUnsupported, TransportError, UnexpectedAnswer
from .http import Response

__all__ = ["Downloads", "ReceivedSpan", "check_encoding"]

_CONTENT_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_UNSATISFIED = re.compile(r"bytes\s+\*/(\d{1,18})", re.IGNORECASE)
_EXPIRED = frozenset({400, 401, 403, 404, 410})
"""How object stores say that a signed URL is over (S3: 400 and 403, Azure: 403, Google: 400, caches: 404, 410)."""
_REMEMBERED = 1024


class ReceivedSpan:
    """Consecutive bytes of a blob on their way; ``store.protocol.Span``, and a context manager that lets go of it.

    One thread reads; ``abort`` may come from any.

    Args:
        response: The answer, its head checked.
        start: Offset of the first byte of its body.
        stop: Offset behind the last byte that will be read.
        whole: Whether the body must end there; what comes after it is then an error.

    Attributes:
        start: As above.
        stop: As above.
    """

    def __init__(self, response: Response, start: int, stop: int, *, whole: bool = True) -> None:
        self.start = start
        self.stop = stop
        self._position = start
        self._response = response
        self._body = response.stream()
        # With a length the body ends where it says; without one only the end itself tells.
        self._unsure = whole and response.length is None

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill ``buffer`` from its front as far as bytes come; return how many, 0 only at ``stop``.

        Raises:
            ConnectionLost: The bytes end before ``stop``; those already read are good to keep.
            SizeMismatch: They do not end there.
            TimedOut: Nothing came for too long.
        """
        left = self.stop - self._position
        if not left:
            self._check_end()
            return 0
        count = self._body.readinto(buffer[:left] if len(buffer) > left else buffer)
        if not count and len(buffer):
            place = self._response.place
            raise ConnectionLost(f"{place} ended its answer {left} bytes too early", subject=place)
        self._position += count
        if count == left:
            self._check_end()
        return count

    def read(self, size: int = -1, /) -> bytes:
        """Return at most ``size`` bytes, all that is left when negative; empty only at ``stop``.

        Raises:
            ConnectionLost: As ``readinto``.
        """
        left = self.stop - self._position
        block = bytearray(left if size < 0 else min(size, left))
        view, filled = memoryview(block), 0
        while filled < len(block) and (count := self.readinto(view[filled:])):
            filled += count
        if not block:
            self._check_end()
        return bytes(block)

    def _check_end(self) -> None:
        """Find the end of a body that did not say how long it is: one byte more would be one too many."""
        if not self._unsure:
            return
        self._unsure = False
        if self._body.readinto(memoryview(bytearray(1))):
            size = self.stop - self.start
            self._body.abort()
            raise SizeMismatch(size, f"more than {size}", self._response.place)

    def abort(self) -> None:
        """Cut the connection, from any thread: a read that waits ends with ConnectionLost. Harmless when repeated."""
        self._body.abort()

    def close(self) -> None:
        """Let go of the connection: kept for the next request when all was read, else closed."""
        self._body.leave()
        self._response.close()

    def __enter__(self) -> ReceivedSpan:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Downloads:
    """Reads the blobs of one repository; safe to share between threads.

    Where a blob was found by a redirect is remembered as long as this lives, in memory only and never shown: such
    URLs are signed. The registry is asked again when the place no longer lets us in.

    Args:
        at: The repository.
    """

    def __init__(self, at: RepositoryEndpoint) -> None:
        self._at = at
        self._guard = threading.Lock()
        self._found: dict[Digest, str] = {}

    def open(self, descriptor: Descriptor, extent: Extent, what: str, *, once: bool = True) -> ReceivedSpan:
        """Open a part of a blob; one attempt, but for what is remembered or a token that has run out.

        Args:
            descriptor: The blob.
            extent: Which bytes; all of them are asked for without a range.
            what: What to call the blob in errors.
            once: False to try again after what may pass, as ``HttpClient.send`` does.

        Raises:
            RangesUnsupported: The whole is sent although ``extent`` does not begin at 0, or no part at all.
            NotFound: The blob is not there.
            SizeMismatch: The blob has another size there.
            UnexpectedAnswer: Other bytes were sent than those asked for, or encoded ones.
        """
        partly = extent != (0, descriptor.size)
        headers = {"Range": f"bytes={extent.start}-{extent.stop - 1}"} if partly else {}
        response = self._asked(descriptor, headers, remember=partly, once=once)
        try:
            return _span(response, descriptor, extent, what)
        except BaseException as error:
            response.close()
            strange = isinstance(error, (RangesUnsupported, UnexpectedAnswer)) and response.status in {206, 416}
            if not (strange and partly and not extent.start):
                raise
        # Who cannot send the front of a blob has no ranges: then all of it, which begins at the same place.
        return self.open(descriptor, Extent(0, descriptor.size), what, once=once)

    def _asked(self, descriptor: Descriptor, headers: Mapping[str, str], *, remember: bool, once: bool) -> Response:
        found = self._found.get(descriptor.digest)
        if found:
            response = self._there(descriptor.digest, found, headers)
            if response is not None:
                return response
        response = self._at.send("GET", f"blobs/{descriptor.digest}", "pull", headers=headers, once=once)
        if remember and response.redirected and response.status in {200, 206}:
            self._remember(descriptor.digest, response.url)
        return response

    def _there(self, digest: Digest, url: str, headers: Mapping[str, str]) -> Response | None:
        """Return the answer of the place where the blob was last; None when it no longer lets us in."""
        try:
            response = self._at.send("GET", url, "pull", headers=headers, once=True)
        except TransportError:
            self._forget(digest, url)  # the next attempt asks the registry, which may know another place
            raise
        if response.status not in _EXPIRED:
            return response
        response.close()
        self._forget(digest, url)
        return None

    def _remember(self, digest: Digest, url: str) -> None:
        with self._guard:
            if len(self._found) >= _REMEMBERED:
                del self._found[next(iter(self._found))]
            self._found[digest] = url

    def _forget(self, digest: Digest, url: str) -> None:
        with self._guard:
            if self._found.get(digest) == url:  # another thread may have a newer one by now
                del self._found[digest]


def _span(response: Response, descriptor: Descriptor, extent: Extent, what: str) -> ReceivedSpan:
    reader = _BY_STATUS.get(response.status)
    if reader is None:
        raise failure(response, what)
    return reader(response, descriptor, extent, what)


def _whole(response: Response, descriptor: Descriptor, extent: Extent, what: str) -> ReceivedSpan:
    check_encoding(response, what)
    if response.length not in {None, descriptor.size}:
        raise SizeMismatch(descriptor.size, str(response.length), response.place)
    if extent.start:
        raise _no_ranges(response, f"sends all of {what} where a part of it was asked for")
    return ReceivedSpan(response, 0, descriptor.size)


def _part(response: Response, descriptor: Descriptor, extent: Extent, what: str) -> ReceivedSpan:
    place = response.place

    def strange(text: str) -> UnexpectedAnswer:
        hint = "A proxy or cache in between may do this; try without it, or again later."
        return UnexpectedAnswer(f"{place} {text} for a part of {what}", hint=hint, subject=place, status=206)

    check_encoding(response, what)
    if response.media_type == "multipart/byteranges":
        raise strange("sent several parts in one answer")
    named = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if named is None:
        raise strange("did not say which bytes it sent")
    start, stop = int(named[1]), int(named[2]) + 1
    if named[3] != "*" and int(named[3]) != descriptor.size:
        raise SizeMismatch(descriptor.size, named[3], place)
    if start != extent.start or stop <= start or stop > descriptor.size:
        raise strange(f"sent the bytes from {start} to {stop - 1} where {extent.start} to {extent.stop - 1} were asked")
    if response.length not in {None, stop - start}:
        raise strange(f"announced {response.length} bytes, and in the same answer {stop - start},")
    # More than was asked for (caches that round to their blocks): the rest is left unread and the connection closed.
    return ReceivedSpan(response, start, min(stop, extent.stop), whole=stop <= extent.stop)


def _unsatisfied(response: Response, descriptor: Descriptor, extent: Extent, what: str) -> ReceivedSpan:
    named = _UNSATISFIED.fullmatch(response.headers.get("Content-Range", "").strip())
    if named and int(named[1]) != descriptor.size:
        raise SizeMismatch(descriptor.size, named[1], response.place)
    raise _no_ranges(response, f"says that it has no bytes {extent.start} to {extent.stop - 1} of {what}")


_BY_STATUS: dict[int, Callable[[Response, Descriptor, Extent, str], ReceivedSpan]] = {
    200: _whole,
    206: _part,
    416: _unsatisfied,
}


def _no_ranges(response: Response, text: str) -> RangesUnsupported:
    place = response.place
    return RangesUnsupported(f"{place} {text}", subject=place, status=response.status)


def check_encoding(response: Response, what: str) -> None:
    """Refuse content that was encoded on the way although ``identity`` was asked for.

    Raises:
        UnexpectedAnswer: It was.
    """
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in {"", "identity"}:
        raise UnexpectedAnswer(
            f"{response.place} sent {what} encoded as {encoding[:40]!r}, which was not asked for",
            hint="A proxy or cache in between most likely compresses; set it not to touch what the registry sends.",
            subject=response.place,
            status=response.status,
        )
