"""The API of one registry, and the part of it below one repository: requests with the right scheme and authorisation.

Here: http or https, the one retry after a 401, lists in pages, URLs that a registry gives and that must stay with
it. Not here: what is asked (``repository``, ``uploads``, ``referrers``) and how it is sent (``http``).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin, urlsplit

from .answers import document, failure
from .auth import Authenticator, CredentialSource, scope
from .errors import ConnectionLost, ConnectionRefused, PlainServer, TimedOut, UnexpectedAnswer
from .http import PASSING, Blocks, HttpClient, Request, Response, joined
from .quirks import Quirks, by_host, recognise
from .sites import api_host, canonical_host, is_loopback, origin

__all__ = ["GONE", "Endpoint", "RepositoryEndpoint"]

GONE = (404, 410)
_WRONG_SCHEME = 400
"""What Go's and nginx's https servers answer plain http, with a sentence that the answer to HEAD does not have."""
_LOOKS = 64
"""Answers that are looked at for signs of who gives them; uploads are among them long before."""
_MAX_PAGES = 10_000
_PAGE_CAP = 8 << 20
_NEXT = re.compile(r'<([^>]*)>\s*;[^,<]*?\brel\s*=\s*"?next\b', re.IGNORECASE)


class Endpoint:
    """The API of one registry.

    http or https is decided once, at the first request. https it is, unless plain http is allowed: for loopback names
    http is tried first (a registry on the same machine seldom has a certificate), unless a certificate authority is
    configured for it; for a host that is set insecure https is tried first. The attempt carries no credentials.

    Args:
        host: Host and optional port.
        client: Sends the requests, and knows the host's settings.
        credentials: Where credentials come from.
    """

    def __init__(self, host: str, client: HttpClient, credentials: CredentialSource) -> None:
        self.host = canonical_host(host)
        self.client = client
        self.settings = client.hosts(self.host)
        self.referrers_api: bool | None = None  # None: nobody has asked yet
        self._credentials = credentials
        self._api = api_host(self.host)
        self._lock = threading.Lock()
        self._auth: Authenticator | None = None
        self._quirks = by_host(self.host)
        self._recognised = False
        self._looked_at = 0

    @property
    def quirks(self) -> Quirks:
        """What this registry can do, as far as its answers have told until now; the settings have the last word."""
        return self.settings.overrides.over(self._quirks)

    def _learn(self, response: Response) -> None:
        """Take from any answer of the registry itself what it says about who answers."""
        if self._recognised or self._looked_at >= _LOOKS:
            return
        self._looked_at += 1
        if (found := recognise(response.headers, response.status)) is not None:
            self._quirks, self._recognised = found, True

    def authenticator(self) -> Authenticator:
        """Return what lets us in, made at the first use."""
        with self._lock:
            if self._auth is None:
                self._auth = self._authenticator(self._scheme())
            return self._auth

    @property
    def base(self) -> str:
        """Scheme and host of the API; the first use may ask the registry which of http and https it speaks."""
        return self.authenticator().base

    @property
    def unaltered(self) -> bool:
        """Whether nobody on the way can alter what is sent: it is encrypted, or does not leave this machine."""
        return self.base.startswith("https://") or is_loopback(self.host)

    def _schemes(self) -> tuple[str, ...]:
        """Return the schemes in which the registry may answer, the likelier one first."""
        if is_loopback(self.host):
            return ("https",) if self.settings.ca else ("http", "https")
        return ("https", "http") if self.settings.insecure else ("https",)

    def _scheme(self) -> str:
        first, *others = self._schemes()
        return self._spoken(first, others[0]) if others else first

    def _first_answer(self, method: str, url: str, headers: Mapping[str, str], follow: bool) -> Response | None:
        """Return the answer to the very first request, when it tells as well which of two schemes is spoken.

        A command with nothing to do asks one thing; asking ``/v2/`` before would double that. The request goes without
        credentials, as every first one does. None when the scheme is known, or is still to be found out by asking.
        """
        if self._auth is not None:
            return None
        with self._lock:
            schemes = self._schemes()
            if self._auth is not None or len(schemes) < 2 or method not in {"GET", "HEAD"} or not url.startswith("/"):
                return None
            for scheme in schemes:
                whole = f"{scheme}://{self._api}{url}"
                try:
                    response = self.client.send(Request(method, whole, headers, follow=follow, settings=self.settings))
                except (PlainServer, ConnectionLost, ConnectionRefused, TimedOut):
                    continue
                if response.status != _WRONG_SCHEME:
                    self._auth = self._authenticator(scheme)
                if response.status in {_WRONG_SCHEME, *PASSING}:
                    response.close()
                    return None
                return response
            return None

    def _authenticator(self, scheme: str) -> Authenticator:
        return Authenticator(self.host, f"{scheme}://{self._api}", self.client, self.settings, self._credentials)

    def _spoken(self, first: str, second: str) -> str:
        """Return the first of two schemes in which the registry answers."""
        try:
            return first if self._speaks(first) else second
        except (PlainServer, ConnectionLost, ConnectionRefused) as error:
            try:
                self._speaks(second)
            except (PlainServer, ConnectionLost, ConnectionRefused):
                raise error from None
            return second

    def _speaks(self, scheme: str) -> bool:
        request = Request("GET", f"{scheme}://{self._api}/v2/", follow=False, settings=self.settings)
        with self.client.send(request) as response:
            self._learn(response)
            return not (scheme == "http" and response.status == _WRONG_SCHEME and b"HTTPS" in response.body(1 << 20))

    def send(
        self,
        method: str,
        path: str,
        repository: str,
        scopes: tuple[str, ...],
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Blocks | None = None,
        again: bool = False,
        once: bool = False,
        follow: bool = True,
    ) -> Response:
        """Return the answer to one request, authorised as far as the registry asks for it.

        Args:
            method: HTTP method.
            path: Path and query below the registry, or an absolute URL that the registry gave.
            repository: Whose credentials to use; may be empty.
            scopes: What the request needs to be allowed to do.
            headers: Further headers.
            body: Bytes, or blocks (then a 401 is not answered by sending it once more).
            again: May be repeated although it is neither GET nor HEAD.
            once: Not repeated although it could be; who asks decides. A 401 is answered all the same.
            follow: Follow redirects.
        """
        early = None if once else self._first_answer(method, path, headers or {}, follow)
        auth = self.authenticator()
        own_path = path.startswith("/v2/")
        url = f"{auth.base}{path}" if own_path else urljoin(f"{auth.base}/", path)
        home = own_path or origin(url) == origin(auth.base)
        settings = self.settings if home else self.client.settings_for(urlsplit(url).netloc, self._api, self.settings)

        repeated = not once and (again or method in {"GET", "HEAD"})

        def request(authorization: str) -> Request:
            own = {"Authorization": authorization} if authorization else {}
            return Request(method, url, {**(headers or {}), **own}, body, repeated, follow, settings)

        used = auth.header(repository, scopes) if home and early is None else ""
        response = self.client.send(request(used)) if early is None else early
        from_home = origin(response.url) == origin(auth.base) if response.redirected else home
        if home and from_home:
            self._learn(response)
        if response.status != 401 or not from_home or not isinstance(body, bytes | None):
            return response
        renewed = auth.renewed(response, repository, scopes, used)
        if not renewed:
            return response
        response.drain()
        return self.client.send(request(renewed))

    def pages(self, path: str, repository: str, scopes: tuple[str, ...], what: str) -> Iterator[Any]:
        """Yield the documents of a list that comes in pages; None for a list that is not there.

        The next page must be on the registry itself (distribution-spec, "Listing Tags": the Link header), and no page
        is read twice.
        """
        seen: set[str] = set()
        url = urljoin(f"{self.base}/", path)
        while url:
            seen.add(url)
            with self.send("GET", url, repository, scopes) as response:
                if response.status in GONE:
                    yield None
                    return
                if response.status != 200:
                    raise failure(response, what)
                following = self.next_page(response)
                yield document(response, _PAGE_CAP, what)
            url = following
            if url in seen or len(seen) >= _MAX_PAGES:
                raise UnexpectedAnswer(f"{self.host} sends {what} in a circle or without end", subject=self.host)

    def next_page(self, response: Response) -> str:
        """Return the URL of the page after this one, or nothing (RFC 8288, ``rel="next"``).

        Raises:
            UnexpectedAnswer: It is not on the registry itself.
        """
        link = _NEXT.search(response.headers.get("Link", ""))
        if link is None:
            return ""
        url = self.continued(response, link[1])
        if origin(url) != origin(self.base):
            raise UnexpectedAnswer(
                f"{self.host} continues its answer on another host, {urlsplit(url).netloc}", subject=self.host
            )
        return url

    def continued(self, response: Response, location: str) -> str:
        """Return a URL that an answer gave, absolute or relative, with the scheme put right.

        A registry behind a proxy that ends TLS often writes http into the URLs of an https API.

        Raises:
            RedirectRefused: It cannot be called.
            UnexpectedAnswer: It leaves encryption for another host.
        """
        parts, base = joined(response.url, location), urlsplit(self.base)
        if base.scheme == "https" and parts.scheme == "http":
            if parts.hostname != base.hostname:
                raise UnexpectedAnswer(
                    f"{self.host} wants to go on without encryption at {parts.netloc}", subject=self.host
                )
            parts = parts._replace(scheme="https", netloc=base.netloc)
        return parts.geturl()


@dataclass(frozen=True, slots=True)
class RepositoryEndpoint:
    """The part of an API below ``/v2/<name>/``."""

    registry: Endpoint
    name: str

    def __str__(self) -> str:
        return f"{self.registry.host}/{self.name}"

    def send(
        self,
        method: str,
        path: str,
        *actions: str,
        origin_name: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | Blocks | None = None,
        again: bool = False,
        once: bool = False,
        follow: bool = True,
    ) -> Response:
        """Send one request that needs ``actions`` (``pull``, ``push``, ``delete``) on the repository.

        Args:
            method: HTTP method.
            path: Below the repository, or an absolute URL that the registry gave.
            actions: What the request does.
            origin_name: Another repository of the registry that must be readable too.
            headers: As ``Endpoint.send``.
            body: As ``Endpoint.send``.
            again: As ``Endpoint.send``.
            once: As ``Endpoint.send``.
            follow: As ``Endpoint.send``.
        """
        scopes = (scope(self.name, *actions), *((scope(origin_name, "pull"),) if origin_name else ()))
        return self.registry.send(
            method,
            self._url(path),
            self.name,
            scopes,
            headers=headers,
            body=body,
            again=again,
            once=once,
            follow=follow,
        )

    def pages(self, path: str, what: str) -> Iterator[Any]:
        """Yield the pages of a list below the repository, as ``Endpoint.pages``."""
        return self.registry.pages(self._url(path), self.name, (scope(self.name, "pull"),), what)

    def _url(self, path: str) -> str:
        return path if "://" in path else f"/v2/{self.name}/{path}"
