"""How long the command takes to start, beside bare Python, in the same run.

    python benchmarks/startup.py [RUNS]

prints a Markdown table: medians of interleaved runs with their range.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

INSTALLML = str(Path(sys.executable).with_name("installml"))
CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import typer'": [sys.executable, "-c", "import typer"],
    "installml --version": [INSTALLML, "--version"],
    "installml --help": [INSTALLML, "--help"],
    "installml install --help": [INSTALLML, "install", "--help"],
    "installml list": [INSTALLML, "list"],
}


def once(command: list[str]) -> float:
    """Return the seconds that a command takes."""
    began = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


def main(runs: int) -> None:
    """Print the table."""
    for command in CASES.values():
        once(command)  # the first run compiles bytecode
    times: dict[str, list[float]] = {name: [] for name in CASES}
    for _ in range(runs):
        for name, command in CASES.items():
            times[name].append(once(command))
    bare = statistics.median(times["python -c pass"])
    print("| command | median s | min to max s | above bare Python |\n|---|---|---|---|")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"| `{name}` | {median:.3f} | {min(values):.3f} to {max(values):.3f} | {median - bare:+.3f} |")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 15)
