"""What a command does not load and does not ask when there is nothing to do: most of its time is Python's start."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from installml.registry_server import RunningRegistry
from tests.unit.api.kit import Asked

EVERYWHERE = {
    "asyncio": "only servers have a loop",
    "cryptography": "only servers make keys",
    "docker": "only serve --docker",
    "jsonschema": "only tests know it",
    "numpy": "only models compute",
    "onnx": "only tests know it",
    "orjson": "only the serving front writes so much JSON",
    "prometheus_client": "only the serving front counts",
    "pydantic": "typer's converter of words; plain words need none (cli/conversion.py)",
    "rich": "only help and errors in colour; progress without a terminal is plain",
    "sigstore": "nothing is signed yet",
    "starlette": "only servers",
    "statistics": "only a download that goes on",
    "uvicorn": "only servers",
}
"""Module to the reason why no verb that moves packages needs it where it has nothing to do."""

NO_RECIPE = {
    "yaml": "recipes are read by whoever packs",
    "pickletools": "formats are looked into by whoever packs",
    "installml.packing": "nothing is packed",
    "installml.transfer.patches": "nothing is fetched",
    "installml.transfer.xor": "nothing is fetched",
}
NO_NETWORK = {
    "requests": "nobody is asked",
    "urllib3": "nobody is asked",
    "charset_normalizer": "comes with requests",
}
NO_FORMATS = {"installml.packing.formats": "the digests of all files are remembered", "pickletools": "it serves them"}

IN_A_PROCESS = """
import ssl, sys
from installml.cli.main import main

contexts, usual = [], ssl.create_default_context
def counted(*args, **more):
    contexts.append(usual(*args, **more))
    return contexts[-1]
ssl.create_default_context = counted
code = main(sys.argv[1:])
print(len(contexts), *sys.modules, file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Loaded:
    """What a command left in its process."""

    modules: frozenset[str]
    contexts: int

    def among(self, table: dict[str, str]) -> dict[str, str]:
        return {name: reason for name, reason in table.items() if name in self.modules}


def loaded(*words: object) -> Loaded:
    command = [sys.executable, "-c", IN_A_PROCESS, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    contexts, *modules = done.stderr.splitlines()[-1].split()
    return Loaded(frozenset(modules), int(contexts))


@pytest.fixture
def pushed(run: Callable[..., Any], model: Path, registry: RunningRegistry) -> str:
    """Return the reference of a package that has been pushed, pulled and installed here."""
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    run("push", model, "-t", reference)
    run("pull", reference)
    run("install", reference)
    return reference


def test_a_second_pull_loads_nothing_that_it_does_not_need(pushed: str) -> None:
    assert loaded("pull", pushed).among({**EVERYWHERE, **NO_RECIPE}) == {}


def test_a_second_install_loads_nothing_that_it_does_not_need(pushed: str) -> None:
    assert loaded("install", pushed).among({**EVERYWHERE, **NO_RECIPE}) == {}


def test_a_second_push_loads_nothing_that_it_does_not_need(pushed: str, model: Path) -> None:
    assert loaded("push", model, "-t", pushed).among({**EVERYWHERE, **NO_FORMATS}) == {}


def test_a_list_loads_nothing_that_it_does_not_need(pushed: str) -> None:
    assert loaded("list").among({**EVERYWHERE, **NO_RECIPE, **NO_NETWORK}) == {}


def test_a_pull_does_load_what_asks_the_registry(pushed: str) -> None:
    assert loaded("pull", pushed).among(NO_NETWORK) != {}


def test_plain_http_reads_no_certificate_authorities(pushed: str) -> None:
    assert loaded("pull", pushed).contexts == 0


def test_https_reads_them_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")  # where nobody listens, and which is asked before any name
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert loaded("pull", "registry.test/acme/sentiment:1.0.0").contexts == 1


def test_flags_in_plain_words_load_no_converter(pushed: str) -> None:
    words = ("pull", pushed, "--jobs", "4", "--format", "json", "--quiet", "--only", "*.bin", "--limit-rate", "1G")
    assert loaded(*words).among({"pydantic": EVERYWHERE["pydantic"]}) == {}


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--jobs", "99"), "invalid value for '--jobs'"),
        (("--jobs", "many"), "invalid value for '--jobs'"),
        (("--format", "xml"), "invalid value for '--format'"),
    ],
)
def test_words_that_are_not_plain_are_refused_as_typer_refuses_them(
    run: Callable[..., Any], words: tuple[str, ...], told: str
) -> None:
    done = run("pull", "acme/x", *words)
    assert done.code == 2
    assert told in done.err


def test_a_second_pull_asks_once(run: Callable[..., Any], pushed: str, registry: RunningRegistry) -> None:
    with Asked(registry) as asked:
        run("pull", pushed)
    assert [request.method for request in asked.requests] == ["HEAD"]


def test_a_second_install_asks_once(run: Callable[..., Any], pushed: str, registry: RunningRegistry) -> None:
    with Asked(registry) as asked:
        run("install", pushed)
    assert [request.method for request in asked.requests] == ["HEAD"]


def test_a_second_push_asks_three_times_at_most(
    run: Callable[..., Any], pushed: str, model: Path, registry: RunningRegistry
) -> None:
    with Asked(registry) as asked:
        run("push", model, "-t", pushed)
    assert 1 <= len(asked.requests) <= 3
    assert {request.method for request in asked.requests} <= {"HEAD", "GET"}
