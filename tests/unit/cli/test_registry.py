"""What the operator of the embedded registry reads."""

from __future__ import annotations

import re
import signal
import subprocess
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from installml.cli.commands.registry import line
from installml.registry_server import RequestRecord


def asked(program: list[str], root: Path, *flags: str) -> tuple[str, list[str]]:
    """Run a registry, ask it for a tag with secrets along; return its URL and what it wrote to standard error."""
    command = [*program, "registry", "serve", "--root", str(root), "--port", "0", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"http://[\w.:]+", said)
        assert found, said
        request = urllib.request.Request(f"{found[0]}/v2/acme/x/manifests/v1?token=c2VjcmV0")
        request.add_header("Authorization", "Basic c2VjcmV0")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=20)
        caught.value.close()
        process.send_signal(signal.SIGTERM)
        return found[0], process.communicate(timeout=20)[1].splitlines()


def test_every_request_is_a_line_without_its_secrets(program: list[str], tmp_path: Path) -> None:
    _, said = asked(program, tmp_path / "registry", "-v")
    (told,) = [text for text in said if text.startswith("GET")]
    assert re.fullmatch(r"GET /v2/acme/x/manifests/v1 404 \d+ \d+ ms", told)
    assert "c2VjcmV0" not in "\n".join(said)


def test_nothing_is_told_unless_it_is_wanted(program: list[str], tmp_path: Path) -> None:
    _, said = asked(program, tmp_path / "registry")
    assert not [text for text in said if "GET" in text]


RECORDS: dict[str, tuple[RequestRecord, str]] = {
    "download": (
        RequestRecord("GET", "/v2/a/blobs/x", status=206, bytes_out=512, seconds=0.0314),
        "GET /v2/a/blobs/x 206 512 31 ms",
    ),
    "upload": (
        RequestRecord("PUT", "/v2/a/b", "digest=x&_state=y", 201, 700, 0, seconds=2),
        "PUT /v2/a/b 201 700 2000 ms",
    ),
    "two lines": (RequestRecord("GET", "/\nGET /x 200 0\r\t"), "GET /%0AGET%20/x%20200%200%0D%09 0 0 0 ms"),
}


@pytest.mark.parametrize(("record", "text"), RECORDS.values(), ids=RECORDS.keys())
def test_a_line_says_method_path_status_bytes_and_milliseconds(record: RequestRecord, text: str) -> None:
    assert line(record) == text
