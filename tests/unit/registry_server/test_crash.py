"""The registry in a process of its own: killed, terminated, and watched for memory."""

from __future__ import annotations

import hashlib
import http.client
import random
import sys
import threading
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.registry_server import RegistryStorage
from tests.contract.registry_protocol.place import (
    CONFIG,
    IMAGE,
    LAYER,
    Place,
    Wire,
    descriptor,
    digest_of,
    expect,
    manifest,
)
from tests.unit.registry_server.kit import Process, head, process, until

MIB = 1 << 20
KILLS = 12


def push_until_killed(wire: Wire, seed: int, acknowledged: dict[str, bytes], errors: list[AssertionError]) -> None:
    """Push blobs, manifests and tags and delete some, noting every tag that was acknowledged."""
    source = random.Random(seed)
    place = Place(wire, f"acme/r{seed % 3}")
    number = 0
    try:
        while True:
            number += 1
            layer = source.randbytes(source.choice([0, 10, 70_000, 2 * MIB]))
            place.blob(b"{}")
            place.blob(layer)
            data = manifest(descriptor(b"{}", CONFIG), [descriptor(layer, LAYER)])
            tag = f"s{seed}-{number}"
            expect(place.put(tag, data), 201)
            acknowledged[f"{place.name}:{tag}"] = data
            if number % 5 == 0:
                acknowledged.pop(f"{place.name}:{tag}")
                expect(place.ask("DELETE", f"manifests/{digest_of(data)}"), 202)
    except (OSError, http.client.HTTPException):
        return  # the registry is gone
    except AssertionError as error:
        errors.append(error)


def check(wire: Wire, acknowledged: dict[str, bytes]) -> None:
    """Every acknowledged tag is there; everything that can be read is what its digest says."""
    for reference, data in acknowledged.items():
        name, _, tag = reference.partition(":")
        assert expect(Place(wire, name).read(tag), 200).body == data, reference
    for name in wire.ask("GET", "/v2/_catalog").json()["repositories"]:
        place = Place(wire, name)
        for tag in place.ask("GET", "tags/list").json()["tags"]:
            value = expect(place.read(tag), 200).json()
            for one in (value["config"], *value["layers"]):
                body = expect(place.ask("GET", f"blobs/{one['digest']}"), 200).body
                assert "sha256:" + hashlib.sha256(body).hexdigest() == one["digest"]


def test_a_registry_killed_at_random_moments_never_shows_a_wrong_or_missing_blob(tmp_path: Path) -> None:
    acknowledged: dict[str, bytes] = {}
    errors: list[AssertionError] = []
    source = random.Random(7)
    for kill in range(KILLS):
        with process(tmp_path) as running:
            check(running.wire, acknowledged)
            wanted = len(acknowledged) + source.randint(1, 6)
            threads = [
                threading.Thread(target=push_until_killed, args=(running.wire, kill * 3 + i, acknowledged, errors))
                for i in range(3)
            ]
            for thread in threads:
                thread.start()
            until(lambda wanted=wanted: len(acknowledged) >= wanted)
            running.kill()
            for thread in threads:
                thread.join()
    with process(tmp_path) as running:
        check(running.wire, acknowledged)
    assert len(acknowledged) >= KILLS
    assert errors == []
    pooled = [path for path in (tmp_path / "pool").rglob("*") if path.is_file() and not path.name.startswith(".")]
    assert pooled
    assert [path for path in pooled if hashlib.sha256(path.read_bytes()).hexdigest() != path.name] == []


def refuses(running: Process) -> bool:
    try:
        running.connect().close()
    except OSError:
        return True
    return False


def test_a_terminated_registry_finishes_the_upload_in_flight(tmp_path: Path) -> None:
    data = b"t" * (2 * MIB)
    with process(tmp_path) as running:
        session = Place(running.wire, "acme/one").session()
        with running.connect() as client:
            client.sendall(head("PUT", f"{session}?digest={digest_of(data)}", len(data)) + data[:MIB])
            until(lambda: Place(running.wire, "acme/one").ask("GET", session).headers["range"] != "0-0")
            running.terminate()
            until(lambda: refuses(running))
            client.sendall(data[MIB:])
            assert client.recv(100).startswith(b"HTTP/1.1 201")
        assert running.popen.wait(timeout=20) == 0
        assert running.popen.stdout is not None
        assert running.popen.stdout.read() == "stopped\n"
    with RegistryStorage(tmp_path) as storage:
        assert storage.repository("acme/one").has_blob(Digest.of(data))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_large_blob_needs_no_large_memory(tmp_path: Path) -> None:
    block = bytes(MIB)
    with process(tmp_path) as running:
        place = Place(running.wire, "acme/one")
        whole = hashlib.sha256()
        for _ in range(256):
            whole.update(block)
        session = place.session()
        expect(place.patch(session, (block for _ in range(256))), 202)
        expect(place.close(session, f"sha256:{whole.hexdigest()}"), 201)
        assert len(expect(place.ask("GET", f"blobs/sha256:{whole.hexdigest()}"), 200).body) == 256 * MIB
        status = Path(f"/proc/{running.popen.pid}/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        assert peak < 100 * 1024, "peak resident memory in KiB"


def test_the_media_type_of_a_manifest_survives_a_restart(tmp_path: Path) -> None:
    with process(tmp_path) as running:
        data = Place(running.wire, "acme/one").tagged("v1")
        running.kill()
    with process(tmp_path) as running:
        answer = expect(Place(running.wire, "acme/one").read("v1"), 200)
        assert (answer.body, answer.headers["content-type"]) == (data, IMAGE)
