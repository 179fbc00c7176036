"""What a clause needs: a plain HTTP client, a fresh repository on the registry under test, and the clause's own form.

Only the standard library speaks here, so that neither our client nor anybody else's stands between the
specification's text and the wire.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import ssl
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

IMAGE = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.example.config.v1+json"
LAYER = "application/vnd.example.layer.v1"
OCTETS = "application/octet-stream"


@dataclass(frozen=True)
class Answer:
    """Status, headers (names in lower case) and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def codes(self) -> list[str]:
        """The error codes of the body, empty when it has another form."""
        try:
            return [error["code"] for error in self.json()["errors"]]
        except (ValueError, KeyError, TypeError):
            return []


@dataclass(frozen=True)
class Wire:
    """A registry's address."""

    url: str
    tls: ssl.SSLContext | None = None

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | Iterable[bytes] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Send one request on a connection of its own; an iterable body is sent in chunked transfer coding."""
        parts = urlsplit(urljoin(self.url, path))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        connection = self._connect(parts.hostname or "", parts.port or 80)
        try:
            chunked = body is not None and not isinstance(body, bytes)
            connection.request(method, target, body, dict(headers or {}), encode_chunked=chunked)
            response = connection.getresponse()
            names = {name.lower(): response.headers[name] for name in response.headers}
            return Answer(response.status, names, response.read())
        finally:
            connection.close()

    def _connect(self, host: str, port: int) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(host, port, timeout=30)
        return http.client.HTTPSConnection(host, port, timeout=30, context=self.tls)


def digest_of(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def descriptor(data: bytes, media_type: str, algorithm: str = "sha256") -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data)}


class ClauseBroken(AssertionError):
    """The registry does something else than the clause says."""


def expect(answer: Answer, *statuses: int) -> Answer:
    if answer.status not in statuses:
        wanted = " or ".join(map(str, statuses))
        raise ClauseBroken(f"{answer.status} where {wanted} was expected: {answer.body[:200]!r}")
    return answer


def same(actual: object, wanted: object, what: str) -> None:
    if actual != wanted:
        raise ClauseBroken(f"{what} is {actual!r:.200} where {wanted!r:.200} was expected")


def holds(fact: object, sentence: str) -> None:
    if not fact:
        raise ClauseBroken(sentence)


@dataclass(frozen=True)
class Place:
    """A repository that nothing else uses, and what one does there."""

    wire: Wire
    name: str

    @classmethod
    def fresh(cls, wire: Wire) -> Place:
        return cls(wire, f"clauses/{uuid.uuid4().hex}")

    def another(self) -> Place:
        return Place.fresh(self.wire)

    def ask(self, method: str, tail: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """Ask below ``/v2/<name>/``, or at a Location."""
        path = tail if tail.startswith(("/", "http")) else f"/v2/{self.name}/{tail}"
        return self.wire.ask(method, path, body, headers)

    # --- the common steps, each by its plainest way ---

    def read(self, reference: str, method: str = "GET") -> Answer:
        """Ask for a manifest as the specification wishes clients to: saying what is accepted."""
        return self.ask(method, f"manifests/{reference}", headers={"Accept": f"{IMAGE}, {INDEX}"})

    def session(self, query: str = "") -> str:
        """Open an upload; its Location."""
        answer = expect(self.ask("POST", f"blobs/uploads/{query}", b""), 202)
        return located(answer)

    def blob(self, data: bytes, algorithm: str = "sha256") -> str:
        """Push a blob; its digest."""
        digest = digest_of(data, algorithm)
        expect(self.close(self.session(), digest, data), 201)
        return digest

    def close(self, location: str, digest: str, data: bytes = b"", headers: Mapping[str, str] | None = None) -> Answer:
        more = {"Content-Type": OCTETS, **(headers or {})}
        return self.ask("PUT", with_query(location, digest=digest), data, more)

    def patch(self, location: str, data: Any, start: int | None = None) -> Answer:
        headers = {"Content-Type": OCTETS}
        if start is not None:
            headers["Content-Range"] = f"{start}-{start + len(data) - 1}"
        return self.ask("PATCH", location, data, headers)

    def put(self, reference: str, data: bytes, media_type: str = IMAGE) -> Answer:
        """Push manifest bytes."""
        return self.ask("PUT", f"manifests/{reference}", data, {"Content-Type": media_type})

    def image(self, **more: Any) -> bytes:
        """Push a config and a layer; the bytes of a manifest over them."""
        config, layer = b"{}", b"layer " + self.name.encode()
        self.blob(config)
        self.blob(layer)
        return manifest(descriptor(config, CONFIG), [descriptor(layer, LAYER)], **more)

    def tagged(self, *tags: str) -> bytes:
        """Push an image under tags; its bytes."""
        data = self.image()
        for tag in tags:
            expect(self.put(tag, data), 201)
        return data


def manifest(config: dict[str, Any], layers: list[dict[str, Any]], **more: Any) -> bytes:
    value = {"schemaVersion": 2, "mediaType": IMAGE, "config": config, "layers": layers, **more}
    return json.dumps(value, indent=1).encode()  # not the canonical form: exact bytes must survive


def index(manifests: list[dict[str, Any]], **more: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests, **more}, indent=1).encode()


def located(answer: Answer) -> str:
    """The Location header, which the clause demands."""
    holds(answer.headers.get("location"), "there is no Location header")
    return answer.headers["location"]


def with_query(location: str, **query: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}{urlencode(query, safe=':')}"


def next_page(answer: Answer) -> str | None:
    """The target of the Link header with relation next."""
    match = re.fullmatch(r'<([^>]+)>;\s*rel="?next"?', answer.headers.get("link", ""))
    return match[1] if match else None


@dataclass(frozen=True)
class Clause:
    """One sentence of a specification, and how to see whether a registry keeps it.

    ``level`` is the sentence's own word; ``NEXT`` marks what distribution-spec says after 1.1.1, ``HTTP`` what RFC
    9110 says, ``OWN`` what the embedded registry promises where the specification leaves the choice.
    """

    id: str
    section: str
    level: str
    sentence: str
    check: Callable[[Place], None]


CLAUSES: list[Clause] = []


def clause(section: str, level: str, sentence: str) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Enter a check into the table."""

    def enter(check: Callable[[Place], None]) -> Callable[[Place], None]:
        CLAUSES.append(Clause(check.__name__, section, level, sentence, check))
        return check

    return enter
