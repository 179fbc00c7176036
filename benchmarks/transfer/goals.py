"""The numbers to hold, and whether they are held: computed from the samples, never written by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .cases import CAP
from .peers import HASH, LIMITS, MOVERS, OURS, REFERENCE
from .results import Results, Row

SIGNED = OURS[1]
PER_STREAM = 16
"""Streams that the goal for a capped connection counts on."""
MEMORY = 150e6


class NotMeasured(Exception):
    """Something that the goal compares went wrong; the message says what."""


class NotRun(NotMeasured):
    """Something that the goal compares was not run."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one goal against one registry.

    Attributes:
        goal: In words.
        registry: Key of the registry.
        measured: The number, with its unit or what it is a ratio of; why there is none; empty when it was not run.
        limit: What it may be.
        met: Whether it is; None when it could not be told.
    """

    goal: str
    registry: str
    measured: str
    limit: str
    met: bool | None


@dataclass(frozen=True, slots=True)
class Goal:
    """One goal.

    Attributes:
        text: In words.
        limit: The number.
        number: Computes what is compared with it: a number and how to read it.
        least: Whether the number shall be at least the limit; else at most.
    """

    text: str
    limit: float
    number: Callable[[Results, str], tuple[float, str]]
    least: bool = False

    def judge(self, results: Results, registry: str) -> Verdict:
        """Compare."""
        limit = f"{'>=' if self.least else '<='} {self.limit:g}"
        try:
            number, words = self.number(results, registry)
        except NotRun:
            return Verdict(self.text, registry, "", limit, None)
        except NotMeasured as missing:
            return Verdict(self.text, registry, str(missing), limit, None)
        met = number >= self.limit if self.least else number <= self.limit
        return Verdict(self.text, registry, f"{number:.3g} ({words})", limit, met)


def verdicts(results: Results, registries: Sequence[str]) -> list[Verdict]:
    """Return what became of every goal against every registry."""
    return [goal.judge(results, registry) for registry in registries for goal in GOALS]


def _row(results: Results, case: str, registry: str, peer: str) -> Row:
    row = results.row(case, registry, peer)
    if row is None:
        raise NotRun(f"{peer}, {case}")
    if not row.good:
        bad = next(sample for sample in row.samples if not sample.good)
        raise NotMeasured(f"{peer}, {case}: exit {bad.cost.code}, {bad.left}")
    return row


def against(case: str, ours: str, peer: str) -> Callable[[Results, str], tuple[float, str]]:
    """Return what computes the ratio of our median to a named peer's."""

    def ratio(results: Results, registry: str) -> tuple[float, str]:
        mine, theirs = _row(results, case, registry, ours).wall, _row(results, case, registry, peer).wall
        return mine / theirs, f"{mine:.2f} s to {theirs:.2f} s of {peer}"

    return ratio


def against_best(case: str, ours: str, verifying: bool = False) -> Callable[[Results, str], tuple[float, str]]:
    """Return what computes the ratio of our median to the best peer's.

    Args:
        case: The case.
        ours: Which of ours.
        verifying: Count only peers that refuse a flipped bit; where that was not measured, all that did the work.
    """

    def ratio(results: Results, registry: str) -> tuple[float, str]:
        mine = _row(results, case, registry, ours).wall
        others = {
            peer: row.wall
            for peer, row in results.rows(case, registry).items()
            if row.good
            and peer not in (*LIMITS, *OURS, *(MOVERS if case.startswith("push") else ()))
            and not (verifying and deceived(results, registry, peer))
        }
        if not others:
            raise NotRun(f"no peer, {case}")
        best = min(others, key=others.__getitem__)
        return mine / others[best], f"{mine:.2f} s to {others[best]:.2f} s of {best}"

    return ratio


def deceived(results: Results, registry: str, peer: str) -> bool:
    """Return whether a peer took a flipped bit for good."""
    row = results.row("flip", registry, peer)
    return row is not None and row.samples[0].cost.code == 0


def against_limit(case: str) -> Callable[[Results, str], tuple[float, str]]:
    """Return what computes our time over what bounds it: moving the bytes without a check, or one core's sha256."""

    def ratio(results: Results, registry: str) -> tuple[float, str]:
        mine = _row(results, case, registry, REFERENCE).wall
        limits = {peer: _row(results, case, registry, peer).wall for peer in ("curl", HASH)}
        slower = max(limits, key=limits.__getitem__)
        others = ", ".join(f"{wall:.2f} s of {peer}" for peer, wall in limits.items() if peer != slower)
        return mine / limits[slower], f"{mine:.2f} s to {limits[slower]:.2f} s of {slower}; {others}"

    return ratio


def refused(results: Results, registry: str) -> tuple[float, str]:
    """Return 1 when the flipped bit was refused with exit code 3 and nothing was left, else 0."""
    row = results.row("flip", registry, REFERENCE)
    if row is None:
        raise NotRun("flip")
    sample = row.samples[0]
    fine = sample.cost.code == 3 and sample.left == "nothing"
    return float(fine), f"exit {sample.cost.code}, left: {sample.left}"


def counted(case: str, name: str, ours: str = REFERENCE) -> Callable[[Results, str], tuple[float, str]]:
    """Return what gives a count of ours."""

    def count(results: Results, registry: str) -> tuple[float, str]:
        number = _row(results, case, registry, ours).more(name)
        if number is None:
            raise NotMeasured(f"{name}, {case}")
        return number, name

    return count


def share(case: str, of: str) -> Callable[[Results, str], tuple[float, str]]:
    """Return what gives the bytes on the wire as a share of ``changed`` bytes or of the package's ``size``."""

    def ratio(results: Results, registry: str) -> tuple[float, str]:
        row = _row(results, case, registry, REFERENCE)
        moved, whole = row.more("bytes"), row.more(of)
        if not moved or not whole:
            raise NotMeasured(f"bytes, {case}")
        return moved / whole, f"{moved:.0f} bytes to {whole:.0f} {of}"

    return ratio


def many_streams(results: Results, registry: str) -> tuple[float, str]:
    """Return how many times faster than one stream (curl) we are on the delayed link."""
    mine, one = (_row(results, "delayed", registry, peer).wall for peer in (REFERENCE, "curl"))
    return one / mine, f"{mine:.2f} s to {one:.2f} s of one stream"


def under_cap(results: Results, registry: str) -> tuple[float, str]:
    """Return our rate over the least of the link's and 16 times the cap, with the large file.

    The link is what the faster of curl and us gets through the same relay without the cap; what we ourselves get is
    told beside it, because registry, relay and hashing share the machine's cores, and curl does not hash.
    """
    row = _row(results, "capped, large", registry, REFERENCE)
    free = {peer: _rate(_row(results, "relay, large", registry, peer)) for peer in (REFERENCE, "curl")}
    best, ours = min(max(free.values()), PER_STREAM * CAP), _rate(row)
    words = f"{ours / 1e6:.0f} MB/s of {best / 1e6:.0f} MB/s; without the cap {free[REFERENCE] / 1e6:.0f} MB/s"
    return ours / best, words


def _rate(row: Row) -> float:
    """Return the bytes on the wire a second, start of the program and all."""
    return (row.more("bytes") or 0.0) / row.wall


def largest(results: Results, registry: str) -> tuple[float, str]:
    """Return our most memory in any case."""
    ours = [sample for sample in results.samples if sample.registry == registry and sample.peer in OURS]
    if not ours:
        raise NotRun("none of ours")
    worst = max(ours, key=lambda sample: sample.cost.peak)
    return worst.cost.peak / 1e6, f"MB, {worst.case}, {worst.peer}"


def growth(results: Results, registry: str) -> tuple[float, str]:
    """Return our peak memory of the whole size over that of an eighth."""
    whole, eighth = (_row(results, case, registry, REFERENCE).peak for case in ("pull one", "pull eighth"))
    return whole / eighth, f"{whole / 1e6:.0f} MB to {eighth / 1e6:.0f} MB with an eighth of the bytes"


def above_python(case: str) -> Callable[[Results, str], tuple[float, str]]:
    """Return what gives the seconds that a start takes beyond those of bare Python."""

    def seconds(results: Results, registry: str) -> tuple[float, str]:
        whole, bare = (_row(results, each, registry, REFERENCE).wall for each in (case, "python"))
        return whole - bare, f"s, {whole:.2f} s less {bare:.2f} s"

    return seconds


def installed(results: Results, registry: str) -> tuple[float, str]:
    """Return the seconds of an install beyond those of the start."""
    whole, start = (_row(results, case, registry, REFERENCE).wall for case in ("install", "start"))
    return whole - start, f"s, {whole:.2f} s less {start:.2f} s"


GOALS = (
    Goal("pull of one file, own sha256, to oras", 0.85, against("pull one", REFERENCE, "oras")),
    Goal("the same, to max(download, one core's sha256)", 1.2, against_limit("pull one")),
    Goal("pull of one file, signed index, to oras", 0.25, against("pull one", SIGNED, "oras")),
    Goal("the same, to curl, which checks nothing", 1.15, against("pull one", SIGNED, "curl")),
    Goal("pull of four shards, own sha256, to the best peer that checks", 0.95,
         against_best("pull shards", REFERENCE, verifying=True)),
    Goal("the same, signed index", 0.45, against_best("pull shards", SIGNED, verifying=True)),
    Goal("push of one file, to oras", 0.60, against("push one", REFERENCE, "oras")),
    Goal("the same, to curl's upload", 1.15, against("push one", REFERENCE, "curl")),
    Goal("the same, to max(upload, one core's sha256)", 1.2, against_limit("push one")),
    Goal("a flipped bit is refused, exit 3, nothing left (1: yes)", 1, refused, least=True),
    Goal("push again, to the best peer", 0.1, against_best("push one again", REFERENCE)),
    Goal("push again, to oras", 0.1, against("push one again", REFERENCE, "oras")),
    Goal("push again, requests", 3, counted("push one again", "requests")),
    Goal("pull again, to the best peer", 0.1, against_best("pull one again", REFERENCE)),
    Goal("pull again, to oras", 0.1, against("pull one again", REFERENCE, "oras")),
    Goal("pull again, requests", 1, counted("pull one again, counted", "requests")),
    Goal("push of small files, to oras", 1.0, against("push small", REFERENCE, "oras")),
    Goal("pull of small files, to oras", 1.0, against("pull small", REFERENCE, "oras")),
    Goal("header edit, bytes to the whole", 0.001, share("delta, header edit", "size")),
    Goal("merged LoRA, bytes to those changed", 1.25, share("delta, merged LoRA", "changed")),
    Goal("last layers, bytes to those changed", 1.25, share("delta, last layers", "changed")),
    Goal("one file of many, bytes to that file and the manifest", 1.25, share("delta, one file of many", "changed")),
    Goal("1 Gbit/s and 50 ms, to curl", 1.03, against("gigabit", REFERENCE, "curl")),
    Goal("100 ms and a window, times faster than one stream", 5, many_streams, least=True),
    Goal("50 MB/s a connection, of min(link, 16 x cap)", 0.8, under_cap, least=True),
    Goal("throttling server, least share of what it allows", 0.5, counted("throttled", "worst"), least=True),
    Goal("memory, any case, MB", MEMORY / 1e6, largest),
    Goal("memory with 8 times the bytes", 1.25, growth),
    Goal("install of a package that is all here, seconds after start", 0.3, installed),
    Goal("install again, requests", 1, counted("install again, counted", "requests")),
    Goal("install again, offline, requests", 0, counted("install again, offline", "requests")),
    Goal("--version, seconds after bare Python", 0.12, above_python("start")),
    Goal("--help, seconds after bare Python", 0.25, above_python("help")),
)  # fmt: skip
