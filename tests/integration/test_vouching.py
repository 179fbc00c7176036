"""Who vouches for a package, as somebody sees it who installs one: the question at a terminal, and what a script gets.

Everything is real: keys, signatures, a registry with a log, the command line in processes of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pexpect
import pytest

import installml
from installml.registry_server import RunningRegistry, start

pytestmark = pytest.mark.integration

PROGRAM = [sys.executable, "-m", "installml"]
RECIPE = "name: acme/llm\nversion: {version}\nlicense: Apache-2.0\ndescription: x\nruntime:\n  engine: none\n"
WEIGHTS = os.urandom(9 << 20)  # large enough for a chunk index
FILES = {"weights.bin": WEIGHTS}
EVIL = b"cposix\nsystem\n(S'id'\ntR."  # protocol 0: calls posix.system("id")
FINGERPRINT = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass
class World:
    """A registry, and people with homes of their own.

    Attributes:
        registry: The registry.
        folder: Where all of them live.
    """

    registry: RunningRegistry
    folder: Path
    children: list[Any] = field(default_factory=list)

    @property
    def repository(self) -> str:
        return f"{self.registry.address}/acme/llm"

    def environment(self, who: str) -> dict[str, str]:
        home = self.folder / who
        home.mkdir(exist_ok=True)
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "INSTALLML_HOME": str(home / "store"),
            "PYTHONPATH": str(Path(installml.__file__).parent.parent),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
        }

    def run(self, who: str, *words: object) -> subprocess.CompletedProcess[str]:
        """Run one command line as somebody without a terminal."""
        return subprocess.run(
            [*PROGRAM, *map(str, words)],
            env=self.environment(who), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip

    def did(self, who: str, *words: object) -> str:
        """Run one command line that must succeed; return what it printed."""
        done = self.run(who, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def at_terminal(self, who: str, *words: str) -> Any:
        """Begin a command line on a terminal."""
        child = pexpect.spawn(
            PROGRAM[0], [*PROGRAM[1:], *words],
            env=self.environment(who), dimensions=(30, 120), encoding="utf-8", timeout=60,
        )  # fmt: skip
        self.children.append(child)
        return child

    def publish(
        self, who: str, version: str = "1.0.0", *, sign: bool = True, tag: str = "1", files: dict[str, bytes] = FILES
    ) -> str:
        """Build a package as somebody, push it, and sign it with their only key."""
        model = self.folder / f"model-{who}-{version}"
        model.mkdir(exist_ok=True)
        (model / "installml.yaml").write_text(RECIPE.format(version=version))
        for name, data in files.items():
            (model / name).write_bytes(data)
        if sign and "sha256:" not in self.did(who, "keys", "list"):
            self.did(who, "keys", "generate", who, "--no-passphrase")
        self.did(who, "push", model, "-t", f"{self.repository}:{tag}", *(["--sign"] if sign else []))
        return f"{self.repository}:{tag}"

    def layers_asked_for(self, since: int) -> list[str]:
        """Return the requests for large content since there were ``since`` requests."""
        large = {path.name for path in self.large()}
        return [r.path for r in self.registry.requests[since:] if r.path.rpartition(":")[2] in large]

    def large(self) -> Iterator[Path]:
        """Yield the files of the registry's storage that hold weights."""
        root = self.folder / "registry"
        yield from (p for p in root.rglob("*") if p.is_file() and p.stat().st_size == len(WEIGHTS))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with start(tmp_path / "registry") as registry:
        found = World(registry, tmp_path)
        yield found
        for child in found.children:
            child.close(force=True)


def ended(child: Any) -> tuple[int, str]:
    """Read to the end; return exit code and what was written last."""
    child.expect(pexpect.EOF)
    child.close()
    return child.exitstatus, child.before


def test_somebody_unknown_is_a_question_and_yes_is_remembered(world: World) -> None:
    reference = world.publish("ada")
    fingerprint = FINGERPRINT.search(world.did("ada", "keys", "list"))
    assert fingerprint is not None
    child = world.at_terminal("bob", "install", reference, "--no-runtime")
    child.expect("does not know yet")
    child.expect_exact(fingerprint[0])
    child.expect(r"Trust this signer for this repository\? \[y/N\]")
    child.sendline("y")
    code, said = ended(child)
    assert code == 0
    assert "pinned for this repository from now on" in said
    assert list((world.folder / "bob" / "store" / "trust").rglob("*pin*"))
    again = world.run("bob", "install", world.publish("ada", "2.0.0"), "--no-runtime")
    assert again.returncode == 0, again.stderr
    assert "verified: signed by key" in again.stdout


def test_no_is_a_refusal_and_nothing_was_fetched(world: World) -> None:
    reference = world.publish("ada")
    before = len(world.registry.requests)
    child = world.at_terminal("bob", "install", reference, "--no-runtime")
    child.expect(r"\[y/N\]")
    child.sendline("n")
    code, said = ended(child)
    assert code == 4
    assert "trust add" in said
    assert world.layers_asked_for(before) == []


def test_without_a_terminal_an_unknown_signer_is_a_refusal_with_the_line_to_type(world: World) -> None:
    reference = world.publish("ada")
    before = len(world.registry.requests)
    done = world.run("bob", "install", reference, "--no-runtime", "--format", "json")
    error = json.loads(done.stdout)
    assert (done.returncode, error["reference"]) == (4, "signer-unknown")
    assert "installml trust add" in error["hint"]
    assert world.layers_asked_for(before) == []


def test_signatures_are_read_before_any_layer(world: World) -> None:
    reference = world.publish("ada")
    (world.folder / "ada.pub").write_text(world.did("ada", "keys", "export", "ada"))
    world.did("bob", "trust", "add", world.repository, "--key", world.folder / "ada.pub")
    before = len(world.registry.requests)
    world.did("bob", "pull", reference)
    asked = [r.path for r in world.registry.requests[before:]]
    layers = world.layers_asked_for(before)
    assert layers
    listed = next(number for number, path in enumerate(asked) if "/referrers/" in path)
    assert listed < asked.index(layers[0])


def test_what_an_evil_registry_puts_under_the_tag_is_refused(world: World) -> None:
    """Unsigned where it was signed, signed by another, and an older version that was signed."""
    old = world.publish("ada", "1.0.0")
    digest = json.loads(world.did("ada", "info", old, "--format", "json"))["digest"]
    (world.folder / "ada.pub").write_text(world.did("ada", "keys", "export", "ada"))
    child = world.at_terminal("bob", "pull", world.publish("ada", "2.0.0"))
    child.expect(r"\[y/N\]")
    child.sendline("y")
    assert ended(child)[0] == 0
    told = {}
    world.publish("eve", "3.0.0", sign=False)
    told["unsigned"] = world.run("bob", "install", old, "--format", "json", "--allow-unsigned")
    world.publish("eve", "3.0.1")
    told["another"] = world.run("bob", "install", old, "--format", "json")
    world.did("ada", "tag", f"{world.repository}@{digest}", "1")
    told["older"] = world.run("bob", "install", old, "--format", "json")
    answers = {name: (done.returncode, json.loads(done.stdout)["reference"]) for name, done in told.items()}
    assert answers == {"unsigned": (4, "signer-changed"), "another": (4, "signer-changed"), "older": (4, "outdated")}


def test_the_signature_over_the_files_lies_in_the_installed_folder(world: World) -> None:
    reference = world.publish("ada")
    (world.folder / "ada.pub").write_text(world.did("ada", "keys", "export", "ada"))
    world.did("bob", "trust", "add", world.repository, "--key", world.folder / "ada.pub")
    done = json.loads(world.did("bob", "install", reference, "--no-runtime", "--format", "json"))
    path = Path(done["path"])
    assert (path / "model.sig").exists()
    assert done["signers"]
    assert world.run("carol", "verify", path, "--key", world.folder / "ada.pub").returncode == 0


def test_a_signed_chunk_index_is_believed_and_one_that_is_not_signed_is_not(world: World) -> None:
    reference = world.publish("ada")
    (world.folder / "ada.pub").write_text(world.did("ada", "keys", "export", "ada"))
    world.did("bob", "trust", "add", world.repository, "--key", world.folder / "ada.pub")
    world.did("bob", "pull", reference)
    owed = world.folder / "bob" / "store" / "state" / "owed"
    assert any(owed.rglob("*"))  # the blob's own digest is still to be computed: its chunks were vouched for
    world.did("carol", "pull", reference, "--allow-unsigned")
    assert not any((world.folder / "carol" / "store" / "state" / "owed").rglob("*"))


def test_what_a_trusted_signer_has_made_is_scanned_before_it_is_put_to_use(world: World) -> None:
    good = world.publish("ada")
    (world.folder / "ada.pub").write_text(world.did("ada", "keys", "export", "ada"))
    world.did("bob", "trust", "add", world.repository, "--key", world.folder / "ada.pub")
    world.did("bob", "install", good, "--no-runtime")
    evil = world.publish("ada", "2.0.0", tag="2", files={"model.pkl": EVIL})
    done = world.run("bob", "install", evil, "--no-runtime", "--format", "json")
    error = json.loads(done.stdout)
    assert (done.returncode, error["reference"]) == (4, "scan-blocked")
    assert "model.pkl" in error["message"]
    records = (world.folder / "bob" / "store" / "installed").rglob("record.json")
    assert [json.loads(record.read_text())["version"] for record in records] == ["1.0.0"]
    let = json.loads(world.did("bob", "install", evil, "--no-runtime", "--block", "never", "--format", "json"))
    assert any("model.pkl" in notice for notice in let["notices"])


def test_a_dry_run_asks_nothing_and_pins_nobody(world: World) -> None:
    child = world.at_terminal("bob", "install", world.publish("ada"), "--no-runtime", "--dry-run")
    code, said = ended(child)
    assert code == 4
    assert "trust add" in said
    assert "[y/N]" not in said
    assert not list((world.folder / "bob" / "store" / "trust").rglob("*pin*"))
