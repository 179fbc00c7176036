"""What tests of the verbs share: sessions, model folders, listeners, what a registry was asked, what a folder holds."""

from __future__ import annotations

import os
import stat
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from installml.api.session import Session
from installml.config import load
from installml.events import Event, Notice
from installml.registry.http import HttpClient
from installml.registry.repository import Registry
from installml.registry_server import RequestRecord, RunningRegistry
from tests.unsigned import UNSIGNED

_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
RECIPE = """\
name: {name}
version: {version}
license: Apache-2.0
description: Says whether a text is friendly.
"""


def make_session(
    home: Path, user: Path, *, flags: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None,
    **parts: Any,
) -> Session:  # fmt: skip
    """Return a session on ``home`` whose waits between attempts take no time, and that looks at no signatures.

    ``flags={"policy": ""}`` gives one that does.
    """
    user.mkdir(exist_ok=True)
    around = {"HOME": str(user), "PATH": os.environ["PATH"], **(environ or {})}
    settings = load({"home": str(home), "policy": UNSIGNED, **(flags or {})}, around, folder=user)
    client = HttpClient(settings.network(), settings.host_settings, sleep=lambda seconds: None)
    session = settings.session()
    parts.setdefault("open_registry_as", lambda host, source: Registry(host, client, source))
    return replace(session, **parts)


def make_model(
    folder: Path, name: str = "acme/sentiment", version: str = "1.0.0", *, more: str = "",
    files: Mapping[str, bytes] | None = None,
) -> Path:  # fmt: skip
    """Write a model folder."""
    folder.mkdir(exist_ok=True)
    (folder / "installml.yaml").write_text(RECIPE.format(name=name, version=version) + more)
    for path, data in (files or {"weights.bin": bytes(range(256)) * 64}).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    return folder


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice)]


class Asked:
    """What a registry is asked inside the ``with`` block."""

    def __init__(self, registry: RunningRegistry) -> None:
        self._registry = registry
        self.requests: list[RequestRecord] = []

    def _mark(self) -> int:
        """Return how many requests are on record, all that were answered before included: one thread answers them."""
        try:
            answer = _DIRECT.open(f"{self._registry.url}/v2/")
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            answer.read()  # its record is there before its last byte
        return len(self._registry.requests)

    def __enter__(self) -> Asked:
        self._from = self._mark()
        return self

    def __exit__(self, *_: object) -> None:
        self.requests = self._registry.requests[self._from : self._mark() - 1]

    @property
    def blobs(self) -> list[str]:
        """Digests of the blobs that were read."""
        return [r.path.rpartition("/")[2] for r in self.requests if r.method == "GET" and "/blobs/" in r.path]

    @property
    def lines(self) -> list[str]:
        """Method and last part of the path of each, without the first look at ``/v2/``."""
        return [f"{r.method} {r.path.rpartition('/')[2]}" for r in self.requests if r.path != "/v2/"]


def snapshot(folder: Path) -> dict[str, tuple[str, bytes]]:
    """Return every file below ``folder`` by name, with its mode and bytes; empty folders are nothing.

    Nor are the store's lists of what a power cut could still damage.
    """
    return {
        str(path.relative_to(folder)): (oct(stat.S_IMODE(path.lstat().st_mode)), path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if not path.is_dir() and "unsynced" not in path.parts
    }
