from __future__ import annotations

import json

import pytest

from installml.errors import NotFound
from installml.registry import errors
from installml.registry.answers import document, failure
from installml.registry.http import Request
from tests.unit.registry.canned import canned
from tests.unit.registry.serving import client

URL = "https://registry.example.com/v2/acme/x/manifests/1.0"


def refusal(status: int, body: str | bytes = b"", headers: dict[str, str] | None = None) -> errors.RegistryError:
    with canned() as mocked:
        mocked.get(URL, status=status, body=body, headers=headers)
        return failure(client().send(Request("GET", URL)), "the manifest acme/x:1.0", known=(("quota", "Buy a disk."),))


def codes(*entries: tuple[str, str], **more: object) -> str:
    return json.dumps({"errors": [{"code": code, "message": message, **more} for code, message in entries]})


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, errors.UnexpectedAnswer),
        (206, errors.UnexpectedAnswer),
        (400, errors.Refused),
        (401, errors.Unauthorized),
        (402, errors.Refused),
        (403, errors.Denied),
        (404, errors.NotFoundInRegistry),
        (405, errors.Unsupported),
        (413, errors.TooLarge),
        (415, errors.Refused),
        (429, errors.RateLimited),
        (500, errors.ServerFailed),
        (501, errors.Unsupported),
        (503, errors.ServerFailed),
        (599, errors.ServerFailed),
    ],
)
def test_a_status_without_a_word_still_says_what_it_is(status: int, kind: type[errors.RegistryError]) -> None:
    error = refusal(status)
    assert type(error) is kind
    assert error.status == status
    assert error.message == f"registry.example.com answered {status} for the manifest acme/x:1.0"
    assert error.exit_code == 1


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (404, "NAME_UNKNOWN", errors.NameUnknown),
        (404, "MANIFEST_UNKNOWN", errors.ManifestUnknown),
        (404, "BLOB_UNKNOWN", errors.BlobUnknown),
        (400, "DIGEST_INVALID", errors.DigestRefused),
        (404, "DENIED", errors.Denied),
        (400, "TOOMANYREQUESTS", errors.RateLimited),
        (400, "unsupported", errors.Unsupported),
        (403, "UNAUTHORIZED", errors.Unauthorized),
        (429, "DENIED", errors.RateLimited),
        (401, "DENIED", errors.Unauthorized),
        (503, "NAME_UNKNOWN", errors.ServerFailed),
        (400, "SOMETHING_NEW", errors.Refused),
    ],
)
def test_the_registrys_code_decides_and_is_kept(status: int, code: str, kind: type[errors.RegistryError]) -> None:
    error = refusal(status, codes((code, "it says why"), detail={"tag": "1.0"}))
    assert type(error) is kind
    assert error.codes == (code.upper(),)
    assert f"({code.upper()}: it says why)" in error.message
    assert error.detail == '{"tag": "1.0"}'


def test_what_is_not_there_is_also_the_not_found_of_every_other_place() -> None:
    assert all(
        isinstance(refusal(404, codes((code, ""))), NotFound) for code in ("NAME_UNKNOWN", "BLOB_UNKNOWN", "OTHER")
    )


@pytest.mark.parametrize(
    "body",
    [b"<html>", b"[]", b'{"errors": {}}', b'{"errors": [1, {"code": 7}]}', b"\xff" * 10, b"[" * 100_000, b"x" * 10**6],
)
def test_an_error_page_of_another_kind_is_left_out(body: bytes) -> None:
    error = refusal(404, body)
    assert error.codes == ()
    assert error.message.endswith("for the manifest acme/x:1.0")


def test_what_a_registry_writes_cannot_draw_on_the_terminal_nor_fill_it() -> None:
    error = refusal(404, codes(("NAME_UNKNOWN", "\x1b[2J\n\u202e" + "long " * 10_000)))
    assert error.message.isprintable()
    assert len(error.message) < 800


def test_a_rate_limit_says_how_long_to_wait() -> None:
    error = refusal(429, headers={"Retry-After": "3600"})
    assert error.retry_after == 3600.0
    assert "3600 seconds" in error.hint
    assert "3600" not in refusal(429).hint


def test_a_known_reason_brings_its_own_hint() -> None:
    assert refusal(403, codes(("DENIED", "Quota exceeded"))).hint == "Buy a disk."
    assert refusal(403, codes(("DENIED", "no"))).hint == errors.Denied.default_hint


@pytest.mark.parametrize("body", [b"", b"<html>", b"[" * 500, b'{"a": 1, "a": 2}'])
def test_a_document_that_cannot_be_read_names_who_sent_it(body: bytes) -> None:
    with canned() as mocked:
        mocked.get(URL, body=body)
        answer = client().send(Request("GET", URL))
        with pytest.raises(errors.UnexpectedAnswer, match=r"registry\.example\.com sent tags"):
            document(answer, 1000, "tags")


def test_every_error_of_the_room_has_its_own_identifier_and_a_branch() -> None:
    found = [getattr(errors, name) for name in errors.__all__]
    assert len({kind.reference for kind in found}) == len(found)
    roots = (errors.TransportError, errors.RegistryError, errors.CredentialsUnusable)
    assert all(issubclass(kind, roots) for kind in found)
    assert all(f"{kind.__name__} " in (errors.__doc__ or "") or kind is errors.CredentialsUnusable for kind in found)
