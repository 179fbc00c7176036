"""The command lines whose answers are kept beside this file, and how they are run and made comparable.

Digests, paths, ports and facts of the machine are replaced; which digests are equal stays visible.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

from installml.cli.main import main
from installml.registry_server import start
from installml.registry_server.faults import Faults, Rule, Status

FOLDER = Path(__file__).parent

RECIPE = """\
name: acme/sentiment
version: 1.0.0
license: Apache-2.0
description: Says whether a text is friendly.
runtime:
  engine: none
"""

HUGE = f"""{RECIPE}hardware:
  - name: huge
    memory: 900TiB
"""

SIGNER = "sha256:" + "5" * 64
"""A key's fingerprint."""

CASES: Mapping[str, tuple[str, ...]] = {
    "build": ("build", "model"),
    "push": ("push", "acme/sentiment:1.0.0", "REGISTRY/acme/sentiment:1.0.0"),
    "push-again": ("push", "acme/sentiment:1.0.0", "REGISTRY/acme/sentiment:1.0.0"),
    "pull": ("pull", "REGISTRY/acme/sentiment:1.0.0"),
    "install-planned": ("install", "REGISTRY/acme/sentiment:1.0.0", "--dry-run"),
    "install": ("install", "REGISTRY/acme/sentiment:1.0.0"),
    "info": ("info", "REGISTRY/acme/sentiment:1.0.0"),
    "info-attestations": ("info", "REGISTRY/acme/sentiment:1.0.0", "--attestations"),
    "sbom-file": ("sbom", "REGISTRY/acme/sentiment:1.0.0", "--spec", "spdx", "-o", "bom.json"),
    "list": ("list",),
    "tag": ("tag", "REGISTRY/acme/sentiment:1.0.0", "stable"),
    "tags": ("tags", "REGISTRY/acme/sentiment"),
    "copy": ("copy", "REGISTRY/acme/sentiment:1.0.0", "REGISTRY/mirror/sentiment:1.0.0"),
    "export": ("export", "REGISTRY/acme/sentiment:1.0.0", "layout"),
    "remove-planned": ("remove", "REGISTRY/acme/sentiment:stable", "--dry-run"),
    "remove": ("remove", "REGISTRY/acme/sentiment:stable"),
    "uninstall": ("uninstall", "REGISTRY/acme/sentiment:1.0.0"),
    "ps": ("ps",),
    "stop": ("stop", "--all"),
    "init-exists": ("init", "model"),
    "error-no-such-verb": ("intsall",),
    "error-no-such-option": ("install", "--dryrun", "acme/sentiment"),
    "error-missing-argument": ("install",),
    "error-wrong-value": ("list", "--jobs", "0"),
    "error-reference": ("info", "Acme/Sentiment"),
    "error-no-key": ("attest", "REGISTRY/acme/sentiment:1.0.0", "--predicate", "facts.json", "--type", "scan"),
    "error-predicate": ("attest", "REGISTRY/acme/sentiment:1.0.0", "--predicate", "facts.json", "--type", "a scan"),
    "error-range": ("install", "acme/sentiment:^1.0"),
    "error-not-in-store": ("push", "acme/nothing:1", "REGISTRY/acme/nothing:1"),
    "error-not-in-registry": ("install", "REGISTRY/acme/nothing:1"),
    "error-not-installed": ("uninstall", "acme/nothing"),
    "error-port-closed": ("pull", "localhost:1/acme/sentiment:1"),
    "error-401": ("pull", "REGISTRY/status-401/x:1"),
    "error-403": ("pull", "REGISTRY/status-403/x:1"),
    "error-404": ("pull", "REGISTRY/status-404/x:1"),
    "error-recipe": ("build", "wrong"),
    "error-no-folder": ("build", "nowhere"),
    "error-hardware": ("install", "REGISTRY/acme/huge:1"),
    "error-nothing-selected": ("pull", "REGISTRY/acme/huge:1", "--only", "*.gguf"),
    "pull-part": ("pull", "REGISTRY/acme/huge:1", "--only", "weights.bin"),
    "list-part": ("list",),
    "error-partial": ("push", "REGISTRY/acme/huge:1", "REGISTRY/acme/other:1"),
    "error-no-server": ("logs", "nothing"),
    "error-input": ("predict", "acme/sentiment", "--input", "model/installml.yaml"),
    "error-nobody-to-ask": ("login", "REGISTRY"),
    "trust-add": ("trust", "add", "REGISTRY/other", "--key", SIGNER),
    "trust-list": ("trust", "list"),
    "trust-policy": ("trust", "policy", "show", "REGISTRY/other/x"),
    "trust-test": ("trust", "test", "REGISTRY/acme/sentiment:1.0.0"),
    "trust-remove": ("trust", "remove", "REGISTRY/other", "--key", SIGNER),
    "error-no-prefix": ("trust", "add", "acme", "--key", SIGNER),
    "error-no-signer": ("trust", "add", "REGISTRY/other"),
    "keys-generate": ("keys", "generate", "ada", "--no-passphrase"),
    "sign": ("sign", "REGISTRY/acme/sentiment:1.0.0", "--expires", "90d", "--scan"),
    "verify": ("verify", "REGISTRY/acme/sentiment:1.0.0", "--key", "ada"),
    "verify-refused": ("verify", "REGISTRY/acme/sentiment:1.0.0", "--key", SIGNER),
    "verify-off": ("verify", "REGISTRY/acme/sentiment:1.0.0", "--policy", "off.toml"),
    "push-signed": ("push", "model", "-t", "REGISTRY/acme/signed:1.0.0", "--sign"),
    "error-no-signature": ("verify", "model", "--key", "ada"),
    "error-sign-not-asked": ("push", "model", "-t", "REGISTRY/acme/signed:1.0.0", "--key", "ada"),
}
"""Name to words; run in this order in one world, each as text and as JSON where that changes nothing."""


@dataclass(frozen=True)
class Answer:
    """What a command line gave, made comparable."""

    code: int
    out: str
    err: str


def _moment(time: re.Match[str]) -> str:
    """Keep the one time that does not depend on when this runs: SOURCE_DATE_EPOCH."""
    return time[0] if time[0] == "2026-01-01T00:00:00Z" else "TIME"


class World:
    """A registry, a home and model folders; the same for every run but for paths and ports."""

    def __init__(self, root: Path, address: str) -> None:
        self.root, self.address = root, address
        self.digests: dict[str, str] = {}

    def run(self, *words: str) -> Answer:
        """Run one command line in this process."""
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([word.replace("REGISTRY", self.address) for word in words])
        return Answer(code, self._comparable(out.getvalue()), self._comparable(err.getvalue()))

    def _comparable(self, text: str) -> str:
        text = text.replace(str(self.root), "ROOT").replace(self.address, "REGISTRY")
        text = text.replace(self.address.replace(":", "_"), "REGISTRY")
        text = re.sub(r"(?<=sha256[:-])[0-9a-f]{12,64}", self._numbered, text)
        text = re.sub(r"(?<=this machine has )[0-9.]+ [KMGT]?i?B", "SIZE", text)
        text = re.sub(r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", _moment, text)
        return re.sub(r" {2,}", "  ", text)  # columns are as wide as ports and paths are long

    def _numbered(self, digest: re.Match[str]) -> str:
        return self.digests.setdefault(digest[0][:12], f"DIGEST-{len(self.digests) + 1}")


@contextlib.contextmanager
def world() -> Iterator[World]:
    """Yield a new world; the working folder and the environment are its own while it lasts."""
    refused = [Rule(Status(code), path=f"/status-{code}/") for code in (401, 403, 404)]
    with tempfile.TemporaryDirectory() as folder, start(faults=Faults(*refused)) as registry:
        root = Path(folder).resolve()
        for name, recipe in {"model": RECIPE, "huge": HUGE, "wrong": "name: 7\nruntime: {engin: x}\n"}.items():
            (root / name).mkdir()
            (root / name / "installml.yaml").write_text(recipe)
            (root / name / "weights.bin").write_bytes(bytes(range(256)) * 64)
        (root / "off.toml").write_text('[[rules]]\nprefix = "*"\nlevel = "off"\n')
        (root / "facts.json").write_text('{"worst": "none", "findings": []}')
        environ = {
            "HOME": folder,
            "INSTALLML_HOME": str(root / "home"),
            "SOURCE_DATE_EPOCH": "1767225600",
        }
        kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        with mock.patch.dict(os.environ, environ | kept, clear=True), contextlib.chdir(root):
            here = World(root, registry.address)
            assert here.run("push", "huge", "-t", "REGISTRY/acme/huge:1").code == 0
            yield here


def answers() -> dict[str, str]:
    """Return what every case gives: file name to content."""
    files = {}
    for suffix, flags in (("txt", ()), ("json", ("--format", "json"))):
        with world() as here:
            for name, words in CASES.items():
                answer = here.run(*words, *flags)
                files[f"{name}.{suffix}"] = _json(answer) if flags else _text(words, answer)
    return files


def _text(words: tuple[str, ...], answer: Answer) -> str:
    parts = [f"$ installml {' '.join(words)}\n", answer.out, *(f"! {line}\n" for line in answer.err.splitlines())]
    return "".join(parts) + f"= {answer.code}\n"


def _json(answer: Answer) -> str:
    assert answer.err == ""
    document: Any = json.loads(answer.out)
    if document.get("linked"):
        document["linked"] = "HOW"
    return json.dumps(document | {"exit code": answer.code}, indent=1, ensure_ascii=False) + "\n"
