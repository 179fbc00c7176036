"""How long the command takes to start and to find that there is nothing to do, beside bare Python and other tools.

    python benchmarks/startup.py [RUNS]

prints a Markdown table: medians of interleaved runs with their range, and CPU seconds. The registry runs in a process
of its own; every "again" has been done once before.
"""

from __future__ import annotations

import contextlib
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.services import programs

INSTALLML = str(Path(sys.executable).with_name("installml"))
RECIPE = "name: bench\nversion: 1.0.0\nlicense: Apache-2.0\nruntime: {engine: none}\n"
WEIGHTS = 64 << 20
"""Bytes of the model: what is there already is not read again, whatever its size."""


@dataclass(frozen=True)
class Case:
    """A command line, and the times that it took."""

    name: str
    command: list[str]
    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def run(self, folder: Path) -> None:
        """Run it once and keep its times."""
        before, began = _cpu(), time.perf_counter()
        subprocess.run(
            self.command,
            cwd=folder,
            env=_environment(folder),
            check=True,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
        self.wall.append(time.perf_counter() - began)
        self.cpu.append(_cpu() - before)

    def row(self, bare: float) -> str:
        """Return its line of the table."""
        median, cpu = statistics.median(self.wall), statistics.median(self.cpu)
        span = f"{min(self.wall):.3f} to {max(self.wall):.3f}"
        return f"| `{self.name}` | {median:.3f} | {span} | {cpu:.3f} | {median - bare:+.3f} |"


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _environment(folder: Path) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "INSTALLML_HOME": str(folder / "home")}


@contextlib.contextmanager
def _registry(folder: Path) -> Iterator[str]:
    """Run a registry in a process of its own; yield its address."""
    code = (
        "import sys; from pathlib import Path; from installml.registry_server import start\n"
        "with start(Path(sys.argv[1])) as registry: print(registry.address, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(folder / "registry")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate()


def _starts() -> list[Case]:
    return [
        Case("python -c pass", [sys.executable, "-c", "pass"]),
        Case("python -c 'import typer'", [sys.executable, "-c", "import typer"]),
        Case("python -c 'import requests'", [sys.executable, "-c", "import requests"]),
        Case("installml --version", [INSTALLML, "--version"]),
        Case("installml --help", [INSTALLML, "--help"]),
        Case("installml install --help", [INSTALLML, "install", "--help"]),
        Case("installml list", [INSTALLML, "list"]),
    ]


def _again(address: str) -> list[Case]:
    reference = f"{address}/acme/bench:1.0.0"
    return [
        Case("installml push DIR, again", [INSTALLML, "push", "model", "-t", reference]),
        Case("installml pull REF, again", [INSTALLML, "pull", reference]),
        Case("installml install REF, again", [INSTALLML, "install", reference]),
    ]


def _peers(address: str) -> list[Case]:
    """Return what other tools take for the same; each pushes a package of its own first."""
    found = []
    if oras := programs.tool("oras"):
        reference, flags = f"{address}/acme/oras:1.0.0", ["--plain-http", "--no-tty"]
        layer = "model.safetensors:application/octet-stream"
        found += [
            Case("oras version", [str(oras), "version"]),
            Case("oras push, again", [str(oras), "push", *flags, reference, layer]),
            Case("oras pull, again", [str(oras), "pull", *flags, "-o", "out", reference]),
        ]
    if modctl := programs.tool("modctl"):
        own = [str(modctl), "--storage-dir", "modctl", "--log-dir", "logs", "--no-progress"]
        reference = f"{address}/acme/modctl:1.0.0"
        build = ["build", "--output-remote", "--plain-http", "--raw", "-f", "Modelfile", "-t", reference, "model"]
        found += [
            Case("modctl version", [str(modctl), "version"]),
            Case("modctl build to the registry, again", [*own, *build]),
            Case("modctl pull, again", [*own, "pull", "--plain-http", reference]),
        ]
    return found


def _model(folder: Path) -> None:
    (folder / "model").mkdir()
    (folder / "model" / "installml.yaml").write_text(RECIPE)
    (folder / "model" / "model.safetensors").write_bytes(os.urandom(WEIGHTS))
    (folder / "model.safetensors").hardlink_to(folder / "model" / "model.safetensors")
    (folder / "Modelfile").write_text("NAME bench\nMODEL model.safetensors\n")


def main(runs: int) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as name, _registry(Path(name)) as address:
        folder = Path(name)
        _model(folder)
        cases = [*_starts(), *_again(address), *_peers(address)]
        for case in cases:
            case.run(folder)  # the first run compiles bytecode, and does what is then there already
            case.wall.clear()
            case.cpu.clear()
        for _ in range(runs):
            for case in cases:
                case.run(folder)
    bare = statistics.median(cases[0].wall)
    print("| command | median s | min to max s | CPU s | above bare Python |\n|---|---|---|---|---|")
    for case in cases:
        print(case.row(bare))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
