"""A network namespace with a limited link to it, for those who may make one."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Link:
    """A namespace behind a link.

    Attributes:
        prefix: What stands before a command that shall run in it.
        host: Our address on this side of the link.
    """

    prefix: tuple[str, ...]
    host: str


def missing() -> str:
    """Return why there can be no namespace here; empty when there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "tc"):
        if shutil.which(program) is None:
            return f"{program} is not on PATH (Debian: iproute2)"
    try:
        with link("1gbit"):
            return ""
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {error.returncode}"]
        return f"{' '.join(error.cmd[:4])} fails: {said[-1]}"


@contextmanager
def link(rate: str) -> Iterator[Link]:
    """Make a namespace whose link has ``rate`` (as ``tc`` writes it) in both directions; remove it at the end."""
    number = os.getpid() % 60_000
    name, here, there = f"bench-{number}", f"bench{number}a", f"bench{number}b"
    net = f"10.213.{number % 250}"
    inside = ("ip", "netns", "exec", name)
    limit = ("root", "tbf", "rate", rate, "burst", "256kb", "latency", "50ms")
    try:
        _run("ip", "netns", "add", name)
        _run("ip", "link", "add", here, "type", "veth", "peer", "name", there, "netns", name)
        _run("ip", "address", "add", f"{net}.1/30", "dev", here)
        _run("ip", "link", "set", here, "up")
        _run(*inside, "ip", "address", "add", f"{net}.2/30", "dev", there)
        _run(*inside, "ip", "link", "set", there, "up")
        _run(*inside, "ip", "link", "set", "lo", "up")
        _run("tc", "qdisc", "add", "dev", here, *limit)
        _run(*inside, "tc", "qdisc", "add", "dev", there, *limit)
        yield Link(inside, f"{net}.1")
    finally:
        subprocess.run(["ip", "link", "delete", here], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=30)
