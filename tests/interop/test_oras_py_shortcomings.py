"""Why the transport is ours (docs/adr/0001-transport.md): what the ``oras`` package of PyPI does on real sockets.

Each test asserts what the stock package does and that our client, in the same place, does not. When one of them fails
because the package has improved, the decision record is due for another look.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import oras.provider
import pytest

from installml.digest import hash_stream
from installml.errors import DigestMismatch
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import RealmRefused, Unauthorized
from installml.registry.http import HostSettings
from installml.registry.repository import Registry, Repository
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import ANNOTATION_TITLE, EMPTY, IMAGE_MANIFEST
from installml.store.verified import open_verified
from tests.unit.registry.serving import Answer, Asked, client, name_everything, site

WEIGHTS = b"weights " * (1 << 19)  # 4 MiB
LAYER = Descriptor.of(WEIGHTS, "application/octet-stream", annotations={ANNOTATION_TITLE: "weights.bin"})
CONFIG = Descriptor.of(b"{}", EMPTY)
MANIFEST = Manifest(CONFIG, (LAYER,), "application/vnd.example.model").to_bytes()
ROOT = Descriptor.of(MANIFEST, IMAGE_MANIFEST)


def artifact(weights: bytes) -> Callable[[Asked], Answer]:
    """Serve one artifact whose layer has these bytes, right or wrong."""

    def answer(asked: Asked) -> Answer:
        if "/manifests/" in asked.path:
            digest = {"Content-Type": IMAGE_MANIFEST, "Docker-Content-Digest": str(ROOT.digest)}
            return Answer(headers=digest, body=MANIFEST)
        return Answer(body=weights) if "/blobs/" in asked.path else Answer(body=b"{}")

    return answer


@pytest.fixture(autouse=True)
def nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stock package reads the home folder of whoever runs it."""
    monkeypatch.setenv("HOME", str(tmp_path))


def ours(host: str, credentials: Credentials | None = None) -> Repository:
    door = client(settings={host: HostSettings(insecure=True)})
    return Registry(host, door, Fixed(credentials)).repository("acme/x")


def test_oras_py_sends_basic_credentials_to_a_foreign_realm(monkeypatch: pytest.MonkeyPatch) -> None:
    name_everything(monkeypatch, "127.0.0.1")
    with site(lambda _: Answer(body=b'{"token": "t"}')) as stranger:
        realm = stranger.url.replace("127.0.0.1", "stranger.example")

        def registry(asked: Asked) -> Answer:
            if asked.authorization.startswith("Bearer"):
                return Answer(body=MANIFEST)
            return Answer(401, {"WWW-Authenticate": f'Bearer realm="{realm}/token",service="s"'})

        with site(registry) as here:
            host = here.address.replace("127.0.0.1", "registry.acme.example")
            stock = oras.provider.Registry(hostname=host, insecure=True)
            stock.auth.set_basic_auth("ann", "pencil")
            stock.get_manifest(f"{host}/acme/x:1.0")
            caught = base64.b64decode(stranger.asked[0].authorization.removeprefix("Basic "))
            assert caught == b"ann:pencil"

            stranger.asked.clear()
            with pytest.raises(RealmRefused, match=r"stranger\.example"):
                ours(host, Credentials("ann", "pencil")).resolve("1.0")
            assert stranger.asked == []


def test_oras_py_accepts_a_flipped_byte(tmp_path: Path) -> None:
    damaged = bytes([WEIGHTS[0] ^ 1]) + WEIGHTS[1:]
    with site(artifact(damaged)) as here:
        stock = oras.provider.Registry(hostname=here.address, insecure=True)
        (pulled,) = stock.pull(f"{here.address}/acme/x:1.0", outdir=str(tmp_path / "out"))
        assert Path(pulled).read_bytes() == damaged

        place = ours(here.address)
        with open_verified(place, LAYER) as stream, pytest.raises(DigestMismatch):
            hash_stream(stream)


def test_oras_py_reads_eight_kibibytes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import requests

    sizes: list[int] = []
    real = requests.Response.iter_content

    def counted(self: Any, *args: Any, **more: Any) -> Any:
        for block in real(self, *args, **more):
            sizes.append(len(block))
            yield block

    monkeypatch.setattr(requests.Response, "iter_content", counted)
    with site(artifact(WEIGHTS)) as here:
        stock = oras.provider.Registry(hostname=here.address, insecure=True)
        stock.download_blob(f"{here.address}/acme/x", str(LAYER.digest), str(tmp_path / "weights.bin"))
        assert sizes == [8192] * (len(WEIGHTS) // 8192)

        blocks: list[bytes] = []
        with ours(here.address).fetch(LAYER) as stream:
            hash_stream(stream, blocks.append)
        assert [len(block) for block in blocks] == [1 << 20] * 4


def test_oras_py_retries_on_every_exception(monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that no repetition can change: 401 without any way to be let in."""
    waits: list[float] = []
    monkeypatch.setattr("oras.decorator.time", SimpleNamespace(sleep=waits.append))

    def refuse(asked: Asked) -> Answer:
        return Answer(401, body=json.dumps({"errors": [{"code": "UNAUTHORIZED", "message": "no"}]}).encode())

    with site(refuse) as here:
        stock = oras.provider.Registry(hostname=here.address, insecure=True)
        with pytest.raises(ValueError, match="authentication"):
            stock.get_manifest(f"{here.address}/acme/x:1.0")
        assert len(here.asked) == 6
        assert sum(waits) > 60  # seconds that somebody would have waited for nothing

        here.asked.clear()
        with pytest.raises(Unauthorized):
            ours(here.address).resolve("1.0")
        assert [asked.path for asked in here.asked] == ["/v2/acme/x/manifests/1.0"]
