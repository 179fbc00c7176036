"""Who refers to a manifest: the referrers API where a registry has it, the tag schema where it does not.

Source: distribution-spec, "Listing Referrers", "Referrers Tag Schema", "Pushing Manifests with Subject", "Deleting
Manifests". ``OCI-Subject`` alone is not believed (Docker Hub sends it without offering the API): the API must answer
with an index. The tag has no lock: it is read, changed, written and read again until our change is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from ..spec.canonical import MAX_MANIFEST
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index, parse_manifest
from ..spec.media import IMAGE_INDEX
from .answers import failure
from .endpoint import GONE, RepositoryEndpoint
from .errors import ServerFailed, UnexpectedAnswer
from .http import Response

__all__ = ["Referrers"]

_MAX_REFERRERS = 10_000
_MAX_PAGES = 1_000
_TRIES = 6
_NO_ANSWER = (401, 403, 408, 429)
"""Statuses that say nothing about whether there is an API; so do all from 500 but 501."""

_Entries = tuple[Descriptor, ...]


class Referrers:
    """The referrers of one repository's manifests."""

    def __init__(self, at: RepositoryEndpoint) -> None:
        self._at = at

    def find(self, subject: Descriptor, artifact_type: str = "") -> list[Descriptor]:
        """Return the manifests whose subject is ``subject``, each once, filtered here whatever the registry did.

        Raises:
            RegistryError: They could not be listed, which is never the same as "none".
        """
        listed = self._from_api(subject, artifact_type)
        entries = listed if listed is not None else self._from_tag(subject)
        once = {entry.digest: entry for entry in entries}.values()
        return [entry for entry in once if artifact_type in {"", entry.artifact_type}]

    def native(self, subject: Descriptor) -> bool:
        """Return whether the registry has the API; asked once a registry."""
        registry = self._at.registry
        if registry.referrers_api is None:
            self._from_api(subject, "")
        return bool(registry.referrers_api)

    def add(self, subject: Descriptor, entry: Descriptor) -> None:
        """Write ``entry`` into the tag that stands for the referrers of ``subject``."""

        def added(entries: _Entries) -> _Entries:
            return entries if entry.digest in {e.digest for e in entries} else (*entries, entry)

        self._change(subject, added)

    def remove(self, subject: Descriptor, entry: Descriptor) -> None:
        """Take ``entry`` out of that tag."""
        self._change(subject, lambda entries: tuple(e for e in entries if e.digest != entry.digest))

    def _from_api(self, subject: Descriptor, artifact_type: str) -> list[Descriptor] | None:
        """Return what the API lists, or None when the registry has no API."""
        query = f"?artifactType={quote(artifact_type, safe='')}" if artifact_type else ""
        path, entries = f"referrers/{subject.digest}{query}", list[Descriptor]()
        for _ in range(_MAX_PAGES):
            with self._at.send("GET", path, "pull", headers={"Accept": IMAGE_INDEX}) as response:
                if response.status in _NO_ANSWER or (response.status >= 500 and response.status != 501):
                    raise failure(response, f"the referrers of {self._at}@{subject.digest}")
                offered = response.status == 200 and response.media_type == IMAGE_INDEX
                self._at.registry.referrers_api = offered
                if not offered:
                    return None
                path = self._at.registry.next_page(response)
                entries += self._read(response, subject)
            if len(entries) > _MAX_REFERRERS:
                break
            if not path:
                return entries
        raise UnexpectedAnswer(f"{self._at}@{subject.digest} has too many referrers to list", subject=str(self._at))

    def _read(self, response: Response, subject: Descriptor) -> _Entries:
        origin = f"the list of referrers of {self._at}@{subject.digest}"
        index = parse_manifest(response.body(MAX_MANIFEST), IMAGE_INDEX, origin)
        return index.manifests

    def _tag(self, subject: Descriptor) -> str:
        # distribution-spec, "Referrers Tag Schema": algorithm cut at 32, value at 64 characters
        return f"{subject.digest.algorithm[:32]}-{subject.digest.hex[:64]}"

    def _from_tag(self, subject: Descriptor) -> _Entries:
        with self._at.send(
            "GET", f"manifests/{self._tag(subject)}", "pull", headers={"Accept": IMAGE_INDEX}
        ) as response:
            if response.status in GONE:
                return ()
            if response.status != 200:
                raise failure(response, f"the referrers of {self._at}@{subject.digest}")
            if response.media_type != IMAGE_INDEX:
                return ()  # the specification: then the tag is no list of referrers
            return self._read(response, subject)

    def _change(self, subject: Descriptor, change: Callable[[_Entries], _Entries]) -> None:
        """Write until our change is in the tag.

        A registry offers no compare-and-swap, so somebody who read before our write may overwrite it. Therefore the
        tag is looked at again after a pause longer than such a reader is likely to need, of random length so that two
        of us do not stay in step.
        """
        client = self._at.registry.client
        for attempt in range(_TRIES):
            asked = client.clock()
            before = self._from_tag(subject)
            after = change(before)
            if after == before:
                return
            self._put(subject, after)
            client.sleep((client.clock() - asked) * (1 + client.random()) * (1 << attempt))
        raise ServerFailed(
            f"the referrers of {self._at}@{subject.digest} keep being overwritten by somebody else",
            subject=str(self._at),
        )

    def _put(self, subject: Descriptor, entries: _Entries) -> None:
        tag, body = self._tag(subject), Index(entries).to_bytes()
        headers = {"Content-Type": IMAGE_INDEX}
        with self._at.send("PUT", f"manifests/{tag}", "pull", "push", headers=headers, body=body) as response:
            if response.status not in {200, 201, 202}:
                raise failure(response, f"the list of referrers {self._at}:{tag}")
            response.drain()
