"""What was measured: samples, and the rows that they make."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .measuring import Cost

FINE = "yes"


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one peer in one case.

    Attributes:
        case: Key of the case, such as ``pull one``.
        registry: Key of the registry.
        peer: Name of the peer.
        cost: What it cost.
        left: What was found afterwards: ``yes`` for every byte as it should be, else what is wrong.
        more: Other numbers: ``bytes`` and ``requests`` on the wire, ``worst`` share of what was allowed ...
    """

    case: str
    registry: str
    peer: str
    cost: Cost
    left: str
    more: Mapping[str, float] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Whether it did what was asked."""
        return self.cost.code == 0 and self.left == FINE


@dataclass(frozen=True, slots=True)
class Row:
    """All runs of one peer in one case."""

    samples: tuple[Sample, ...]

    @property
    def good(self) -> bool:
        """Whether every run did what was asked."""
        return all(sample.good for sample in self.samples)

    def median(self, what: Callable[[Sample], float]) -> float:
        """Return the median of a number over the runs."""
        return statistics.median(what(sample) for sample in self.samples)

    def range(self, what: Callable[[Sample], float]) -> tuple[float, float]:
        """Return the least and the most of a number over the runs."""
        values = [what(sample) for sample in self.samples]
        return min(values), max(values)

    @property
    def wall(self) -> float:
        """Median of wall seconds."""
        return self.median(lambda sample: sample.cost.wall)

    @property
    def peak(self) -> int:
        """Most memory of any run, in bytes."""
        return max(sample.cost.peak for sample in self.samples)

    def more(self, name: str) -> float | None:
        """Return the median of another number; None when it was not counted."""
        values = [sample.more[name] for sample in self.samples if name in sample.more]
        return statistics.median(values) if values else None


class Results:
    """Samples by case, registry and peer, in the order in which they came."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self.samples: list[Sample] = list(samples)
        self.skipped: list[tuple[str, str]] = []

    def add(self, sample: Sample) -> None:
        """Add one."""
        self.samples.append(sample)

    def skip(self, what: str, why: str) -> None:
        """Note that something was not measured; the same is noted once."""
        if (what, why) not in self.skipped:
            self.skipped.append((what, why))

    def rows(self, case: str, registry: str) -> dict[str, Row]:
        """Return the rows of a case, by peer."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            if (sample.case, sample.registry) == (case, registry):
                found.setdefault(sample.peer, []).append(sample)
        return {peer: Row(tuple(samples)) for peer, samples in found.items()}

    def row(self, case: str, registry: str, peer: str) -> Row | None:
        """Return one row; None when it was not measured."""
        return self.rows(case, registry).get(peer)

    def cases(self) -> list[tuple[str, str]]:
        """Return the pairs of case and registry that have samples."""
        return list(dict.fromkeys((sample.case, sample.registry) for sample in self.samples))

    def take(self, document: Mapping[str, Any], runs: int) -> None:
        """Add the cases of an earlier document (``--json``) that were measured to their end.

        Args:
            document: The JSON document.
            runs: Samples that each peer must have.
        """
        earlier = Results(Sample(**{**each, "cost": Cost(**each["cost"])}) for each in document["samples"])
        for case, registry in earlier.cases():
            counts = {len(row.samples) for row in earlier.rows(case, registry).values()}
            whole = len(counts) == 1 and (min(counts) >= runs or counts == {1})  # what is counted, not timed: once
            if whole and (case, registry) not in self.cases():
                self.samples += [s for s in earlier.samples if (s.case, s.registry) == (case, registry)]

    def to_json(self) -> list[dict[str, Any]]:
        """Return all samples as JSON values."""
        return [asdict(sample) for sample in self.samples]
