"""Runs the console and Python blocks of a page, so that what is documented is what happens.

A page is one session: its blocks run in order, in one empty folder that has ``digits/`` (a small model) in it, with a
registry of its own in the place of ``localhost:5000``. In a console block a line that begins with ``$ `` is typed, and
what stands below it is what must come out, stdout and stderr as a terminal would show them; parts that differ
from run to run (digests, ports, sizes, times, paths) are compared by their shape. A line ``...`` stands for any lines.
A block that cannot run here stands behind a comment ``<!-- not run: why -->``.

``python docs/blocks.py --update PAGE`` writes what really came out into the page.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = "localhost:5000"
MODEL = ("model.onnx", "README.md", "example.json", "expected.json", "requirements.txt")
TIMEOUT = 300
_FENCE = re.compile(
    r"(?P<skip><!-- not run: [^>]+ -->\n)?^```(?P<kind>console|python)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE
)
_SHAPES = (
    (r"sha(256|512):[0-9a-f]{12,128}", "DIGEST"),
    (r"sha(256|512)-[0-9a-f]{12,128}", "DIGEST"),
    (r"\b[0-9a-f]{64}\b", "DIGEST"),
    (r"(127\.0\.0\.1|localhost)[:_]\d+", "HOST"),
    (r"\b\d{4}-\d\d-\d\dT[0-9:.+Z]+", "TIME"),
    (r"\b\d+(?= +TIME)", "PID"),
    (r"\b\d+(\.\d+)?(e[-+]?\d+)? (B|KiB|MiB|GiB|TiB|s)\b", "SIZE"),
    (r"~?(/[\w.@+=-]+){2,}", "PATH"),
    (r"\b\d+\.\d+\.\d+(\.\d+)?\b", "VERSION"),
    (r"\b\d+\.\d+(e[-+]?\d+)?\b", "NUMBER"),
    (r"\b([a-z]+)-[0-9a-f]{8}\b", r"\1-ID"),
    (r"\b\d+ (cores|files|blobs)\b", r"N \1"),
    (r"\s+", " "),
)


@dataclass(frozen=True)
class Block:
    """One fenced block.

    Attributes:
        kind: ``console`` or ``python``.
        body: Its text.
        line: Where it begins.
        run: Whether it can be run.
        span: Where its body stands in the page.
    """

    kind: str
    body: str
    line: int
    run: bool
    span: tuple[int, int]


@dataclass(frozen=True)
class Step:
    """A typed command and what is said to come out."""

    command: str
    expected: str


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page."""
    for match in _FENCE.finditer(text):
        line = text.count("\n", 0, match.start("body"))
        yield Block(match["kind"], match["body"], line, match["skip"] is None, match.span("body"))


def steps(body: str) -> list[Step]:
    """Return the commands of a console block; a backslash continues one on the next line."""
    found: list[Step] = []
    for part in re.split(r"^\$ ", body, flags=re.MULTILINE)[1:]:
        lines = part.splitlines()
        count = next(i for i, line in enumerate(lines, 1) if not line.endswith("\\"))
        command = " ".join(line.rstrip("\\").strip() for line in lines[:count])
        found.append(Step(command, "\n".join(lines[count:]).strip()))
    return found


def shape(text: str) -> str:
    """Return ``text`` with everything that differs from run to run replaced by its kind."""
    for pattern, name in _SHAPES:
        text = re.sub(pattern, name, text)
    return text.strip()


def agrees(expected: str, actual: str) -> bool:
    """Return whether ``actual`` is what the page says."""
    lines = [re.escape(shape(line)) if line.strip() != "..." else ".*" for line in expected.splitlines()]
    return re.fullmatch("\\s*".join(lines), shape(actual), re.DOTALL) is not None


class Session:
    """One page's folder, home and registry."""

    def __init__(self, folder: Path, registry: str) -> None:
        self.folder = folder
        self.registry = registry
        command = folder / "bin" / "installml"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m installml "$@"\n')
        command.chmod(0o755)
        self.environment = {
            **os.environ,
            "PATH": f"{command.parent}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder / "user"),
            "INSTALLML_HOME": str(folder / "home"),
            "PYTHONPATH": str(ROOT),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        # the package index and its cache are the machine's, not the page's
        home = Path(os.environ.get("HOME", "/"))
        self.environment.setdefault("UV_CACHE_DIR", str(home / ".cache" / "uv"))
        if (home / ".config/pip/pip.conf").exists():
            self.environment.setdefault("PIP_CONFIG_FILE", str(home / ".config/pip/pip.conf"))
        self.work = folder / "work"
        shutil.copytree(
            ROOT / "examples", self.work / "examples", ignore=shutil.ignore_patterns("build", "__pycache__")
        )
        (self.work / "digits").mkdir()
        for name in MODEL:
            shutil.copy(ROOT / "installml" / "demo_model" / name, self.work / "digits")

    def _local(self, text: str) -> str:
        return text.replace(REGISTRY, self.registry)

    def type(self, command: str) -> tuple[int, str]:
        """Run a command in the page's folder; return exit code and output."""
        done = subprocess.run(
            ["bash", "-c", self._local(command)], cwd=self.work, env=self.environment, timeout=TIMEOUT,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        printed = done.stdout.replace(self.registry, REGISTRY)
        return done.returncode, printed.replace(self.registry.replace(":", "_"), REGISTRY.replace(":", "_"))

    def python(self, body: str) -> tuple[int, str]:
        """Run a Python block as a script."""
        script = self.folder / "block.py"
        script.write_text(self._local(body))
        return self.type(f"{shlex.quote(sys.executable)} {shlex.quote(str(script))}")

    def close(self) -> None:
        """Stop what the page started."""
        self.type("installml stop --all")


@contextmanager
def session() -> Iterator[Session]:
    """Yield a session in a fresh folder; nothing of it stays."""
    from installml.registry_server import start

    with tempfile.TemporaryDirectory(prefix="installml-docs-") as name, start(Path(name) / "registry") as registry:
        page = Session(Path(name), registry.address)
        try:
            yield page
        finally:
            page.close()
            for path in Path(name).rglob("*"):
                if path.is_dir() and not path.is_symlink():
                    path.chmod(0o755)


def check(path: Path) -> list[str]:
    """Return what a page says wrongly, each with its line."""
    wrong = []
    with session() as page:
        for block in blocks(path.read_text("utf-8")):
            if not block.run:
                continue
            if block.kind == "python":
                code, output = page.python(block.body)
                if code:
                    wrong.append(f"{path.name}:{block.line}: exit {code}\n{output}")
                continue
            for step in steps(block.body):
                code, output = page.type(step.command)
                if not agrees(step.expected, output):
                    wrong.append(f"{path.name}:{block.line}: $ {step.command}\nexit {code}, printed:\n{output}")
    return wrong


def update(path: Path) -> None:
    """Write what the commands of a page really print into it."""
    text = path.read_text("utf-8")
    parts, end = [], 0
    with session() as page:
        for block in blocks(text):
            if block.kind != "console" or not block.run:
                if block.run:
                    page.python(block.body)
                continue
            lines = []
            for step in steps(block.body):
                output = page.type(step.command)[1].rstrip()
                output = output.replace(str(page.environment["INSTALLML_HOME"]), "~/.local/share/installml")
                lines.append(f"$ {step.command}\n" + (f"{output}\n" if output else ""))
            parts += [text[end : block.span[0]], "".join(lines)]
            end = block.span[1]
    path.write_text("".join([*parts, text[end:]]), "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--update", nargs="+", type=Path, default=[])
    for page_path in parser.parse_args().update:
        update(page_path)
