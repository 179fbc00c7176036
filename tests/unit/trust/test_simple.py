"""cosign's classic payload."""

from __future__ import annotations

import json
from typing import Any

import pytest

from installml.digest import Digest
from installml.trust.errors import EvidenceInvalid
from installml.trust.simple import SimplePayload, classic_tag, parse_simple

DIGEST = Digest("sha256", "a" * 64)
# cosign 3.1.3: cosign generate -a k=v localhost:1/acme/m@sha256:aaaa...
COSIGN = (
    b'{"critical":{"identity":{"docker-reference":"localhost:1/acme/m"},"image":{"docker-manifest-digest":"sha256:'
    + b"a" * 64
    + b'"},"type":"cosign container image signature"},"optional":{"k":"v"}}'
)


def spelled(**critical: Any) -> bytes:
    document = json.loads(COSIGN)
    document["critical"] = {
        key: value for key, value in {**document["critical"], **critical}.items() if value is not ...
    }
    return json.dumps(document).encode()


def test_what_cosign_writes_is_read() -> None:
    assert parse_simple(COSIGN, "here") == SimplePayload("localhost:1/acme/m", DIGEST, {"k": "v"})


def test_the_same_bytes_are_written_as_by_cosign() -> None:
    assert SimplePayload("localhost:1/acme/m", DIGEST, {"k": "v"}).to_bytes() == COSIGN


def test_nothing_added_is_written_as_null() -> None:
    payload = SimplePayload("acme/m", DIGEST)
    assert payload.to_bytes().endswith(b'"optional":null}')
    assert parse_simple(payload.to_bytes(), "here") == payload


REFUSED: dict[str, tuple[bytes, str]] = {
    "no digest": (spelled(image={}), "'docker-manifest-digest' is missing"),
    "null for a digest": (spelled(image={"docker-manifest-digest": None}), "'docker-manifest-digest' is missing"),
    "a digest that is none": (spelled(image={"docker-manifest-digest": "sha256:../x"}), "is not a sha256"),
    "another type": (spelled(type="atomic container signature"), "critical.type"),
    "no type": (spelled(type=...), "'type' is missing"),
    "something critical that is not known": (spelled(usage="x"), "unknown key 'usage'"),
    "no identity": (spelled(identity=...), "'identity' is missing"),
    "optional that is a list": (COSIGN.replace(b'{"k":"v"}', b"[]"), "optional: must be a mapping"),
    "a digest twice": (COSIGN.replace(b'"image":{', b'"image":{"docker-manifest-digest":"x",'), "stands twice"),
    "too much": (COSIGN + b" " * (256 << 10), "at most"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED)
def test_another_payload_is_refused_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(EvidenceInvalid, match=reason):
        parse_simple(data, "here")


def test_the_tag_is_made_of_the_digest() -> None:
    assert classic_tag(DIGEST) == f"sha256-{'a' * 64}.sig"
