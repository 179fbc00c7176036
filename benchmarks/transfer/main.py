"""The command: options, the run, the table."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

from . import registries, table
from .cases import CASES, Bench, Plan, run, workplace
from .folders import MIB
from .goals import verdicts
from .machine import facts
from .peers import PEERS
from .results import Results

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
LEAST = 16 * MIB
STOPPED = "stopped; everything that was started has ended"
NO_SHA_NI = {"OPENSSL_ia32cap": ":~0x20000000", "GODEBUG": "cpu.sha=off"}
"""Switches the instructions off in OpenSSL (Python, sha256sum) and in Go: OPENSSL_ia32cap(3); internal/cpu of Go."""


def size_of(text: str) -> int:
    """Return the bytes that ``2G``, ``128M`` ... mean."""
    found = re.fullmatch(r"(\d+)([KMG]?)(?:i?B)?", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size such as 128M or 2G")
    size = int(found[1]) * UNITS[found[2]]
    if size < LEAST:
        raise argparse.ArgumentTypeError(f"{text} is less than {LEAST // MIB}M")
    return size


def names_of(known: Sequence[str]) -> argparse.Action:
    """Return a reader of a comma list of known names."""

    def read(text: str) -> list[str]:
        chosen = [name.strip() for name in re.split(r",(?! )", text)]  # "installml, signed index" is one name
        if unknown := set(chosen) - set(known):
            raise argparse.ArgumentTypeError(f"unknown: {', '.join(sorted(unknown))}; known: {'; '.join(known)}")
        return chosen

    return read  # type: ignore[return-value]


def parser() -> argparse.ArgumentParser:
    """Return the options."""
    made = argparse.ArgumentParser(
        prog="benchmarks/transfer", description="Measure transfers beside named peers, and print Markdown."
    )
    made.add_argument("--size", type=size_of, default=size_of("2G"), help="bytes of the large file (2G)")
    made.add_argument("--files", type=int, default=1000, help="number of small files of 64 KiB (1000)")
    made.add_argument("--runs", type=int, default=5, help="runs of each, the peers in turn (5)")
    for option, known in (("cases", list(CASES)), ("peers", list(PEERS)), ("registries", list(registries.REGISTRIES))):
        made.add_argument(f"--{option}", type=names_of(known), default=known, metavar="A,B", help="; ".join(known))  # type: ignore[arg-type]
    made.add_argument(
        "--beside", type=names_of(list(CASES)), metavar="A,B", help="the cases for registries after the first; the same"
    )  # type: ignore[arg-type]
    made.add_argument("--work", type=Path, help="folder to work in: the disk that is measured; the temporary folder")
    made.add_argument("--json", type=Path, metavar="FILE", help="write every sample there")
    made.add_argument(
        "--after", type=Path, metavar="FILE", help="add the whole cases of a run that wrote FILE by --json"
    )
    made.add_argument("--update", type=Path, metavar="PAGE", help="replace the table in this page")
    made.add_argument(
        "--lock", type=Path, action="append", default=[], metavar="FILE",
        help="lock FILE while a sample is taken, so that other work can wait for it: flock --shared FILE make",
    )  # fmt: skip
    made.add_argument("--no-sha-ni", action="store_true", help="switch the processor's sha256 off for everybody")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; return the exit code: 0 whatever the goals say, 130 after Ctrl-C."""
    options = parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    if options.no_sha_ni and any(os.environ.get(name) != value for name, value in NO_SHA_NI.items()):
        os.environ.update(NO_SHA_NI)
        os.execv(sys.executable, sys.orig_argv)  # OpenSSL looks when a program starts: this one too must start anew
    try:
        return _run(options)
    except KeyboardInterrupt:
        print(STOPPED, file=sys.stderr)
        return 130


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(options: argparse.Namespace) -> int:
    results = Results()
    peers = []
    for name in options.peers:
        if why := PEERS[name].missing():
            results.skip(name, why)
        else:
            peers.append(PEERS[name])
    places = []
    for name in options.registries:
        if why := registries.missing(name):
            results.skip(f"registry {name}", why)
        else:
            places.append(name)
    with workplace(options.work) as work:
        machine = facts(work)
        plan = Plan(work, options.size, options.runs, options.files, peers, _say, options.lock)
        bench, stopped = Bench(plan, results), False
        try:
            for place in places:
                run(bench, place, options.cases if place == places[0] or not options.beside else options.beside)
        except KeyboardInterrupt:  # hours may be behind us: what was measured is told
            results.skip("the rest", "stopped")
            stopped = True
    versions = {peer.name: peer.version() for peer in peers}
    if options.after:
        earlier = json.loads(options.after.read_text())
        results.take(earlier, options.runs)
        versions = {**earlier["peers"], **versions}
    judged = verdicts(results, places)
    text = table.page(machine, versions, results, judged, titles(options.size, options.files))
    print(text)
    if options.json:
        document = {"machine": machine, "peers": versions, "size": options.size, "runs": options.runs}
        options.json.write_text(json.dumps({**document, "samples": results.to_json(), "skipped": results.skipped}))
    if options.update:
        table.update(options.update, "benchmarks/transfer", f"{_how(options)}\n\n{text}")
    if stopped:
        print(STOPPED, file=sys.stderr)
    return 130 if stopped else 0


def _how(options: argparse.Namespace) -> str:
    """Return the command that was typed, without the paths of this machine."""
    words = [word.name if (word := Path(each)).is_absolute() else each for each in sys.argv[1:]]
    return f"`{shlex.join(['python', 'benchmarks/transfer', *words])}`, {options.runs} runs each:"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def titles(size: int, files: int) -> dict[str, str]:
    """Return the cases in words."""
    large, part = _human(size), _human(size // 4)
    kinds = {"one": f"1 x {large}", "shards": f"4 x {part} and 6 small files", "small": f"{files} x 64 KiB"}
    found = {
        f"{verb} {kind}{again}": f"{verb}{again} {words}"
        for verb in ("push", "pull")
        for kind, words in kinds.items()
        for again in ("", " again")
    }
    return found | {
        "flip": f"pull of {part} after one bit of the stored file was flipped",
        "gigabit": f"{part} at 1 Gbit/s, 50 ms",
        "relay": f"{part} through the relay without a limit",
        "capped": f"{part} at 50 MB/s a connection",
        "relay, large": f"{large} through the relay without a limit",
        "capped, large": f"{large} at 50 MB/s a connection",
        "delayed": f"{part}, 100 ms and a window of 4 MiB a connection",
        "throttled": f"{part} from a server that throttles",
        "install": f"install of {large}, everything local",
        "install again": f"install again of {large}",
        "python": "bare Python (python -c pass)",
        "start": "start (--version)",
        "help": "start (--help)",
        "pull eighth": f"pull {_human(size // 8)}",
    }


def _human(size: int) -> str:
    return f"{size / (1 << 30):g} GiB" if size >= 1 << 30 else f"{size / MIB:g} MiB"
