"""Results as Markdown, and into a page between two marks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .goals import Verdict
from .results import FINE, Results, Row

BEGIN, END = "<!-- {name}: begin -->", "<!-- {name}: end -->"
WORDS = {True: "met", False: "**missed**"}
COUNTS = {"requests": "requests", "bytes": "bytes in", "refused": "429s", "worst": "least share"}


def page(
    facts: Mapping[str, str],
    versions: Mapping[str, str],
    results: Results,
    verdicts: Sequence[Verdict],
    titles: Mapping[str, str],
) -> str:
    """Return everything as Markdown."""
    return "\n".join(
        line
        for part in (
            _facts(facts, versions),
            _goals(verdicts),
            *(_case(results, case, registry, titles) for case, registry in results.cases()),
            _skipped(results),
        )
        for line in [*part, ""]
    )


def _facts(facts: Mapping[str, str], versions: Mapping[str, str]) -> Iterator[str]:
    yield "| machine | |"
    yield "|---|---|"
    yield from (f"| {name} | {value} |" for name, value in facts.items())
    yield f"| peers | {', '.join(f'{name} {version}' for name, version in versions.items())} |"


def _goals(verdicts: Sequence[Verdict]) -> Iterator[str]:
    yield "| goal | registry | limit | measured | |"
    yield "|---|---|---|---|---|"
    for each in verdicts:
        if each.met is not None:
            yield f"| {each.goal} | {each.registry} | {each.limit} | {each.measured} | {WORDS[each.met]} |"
    if broken := [
        f"{each.goal}, {each.registry}: {each.measured}" for each in verdicts if each.met is None and each.measured
    ]:
        yield ""
        yield f"Not judged, because a run failed: {'; '.join(broken)}."
    if absent := sum(each.met is None and not each.measured for each in verdicts):
        yield ""
        yield f"{absent} goals were not judged, because what they compare was not run."


def _case(results: Results, case: str, registry: str, titles: Mapping[str, str]) -> Iterator[str]:
    rows = results.rows(case, registry)
    counts = [name for name in COUNTS if any(row.more(name) is not None for row in rows.values())]
    heads = "".join(f" {COUNTS[name]} |" for name in counts)
    yield f"**{titles.get(case, case)}**, {registry}"
    yield ""
    yield f"| peer | wall s (min to max) | CPU s | peak MB | {_last(case)} |{heads}"
    yield f"|---|---|---|---|---|{'---|' * len(counts)}"
    for peer, row in sorted(rows.items(), key=lambda item: item[1].wall):
        extra = "".join(f" {_number(row.more(name))} |" for name in counts)
        cpu = row.median(lambda sample: sample.cost.cpu)
        yield f"| {peer} | {_times(row)} | {cpu:.2f} | {row.peak / 1e6:.0f} | {_state(row)} |{extra}"


def _last(case: str) -> str:
    return "exit; what is left" if case == "flip" else "every byte right"


def _times(row: Row) -> str:
    least, most = row.range(lambda sample: sample.cost.wall)
    return f"{row.wall:.2f} ({least:.2f} to {most:.2f})"


def _state(row: Row) -> str:
    if row.samples[0].case == "flip":
        return f"{row.samples[0].cost.code}; {row.samples[0].left}"
    bad = next((sample for sample in row.samples if not sample.good), None)
    if bad is None:
        return FINE
    return f"**NO**: exit {bad.cost.code}" + ("" if bad.left == FINE else f", {bad.left}")


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 2 or value == int(value) else f"{value:.2f}"


def _skipped(results: Results) -> Iterator[str]:
    if results.skipped:
        yield "Not measured:"
        yield ""
        yield from (f"- {what}: {' '.join(why.split())}" for what, why in results.skipped)


def update(path: Path, name: str, text: str) -> None:
    """Replace what stands between the marks ``name`` of a page.

    Raises:
        ValueError: The page has no such marks.
    """
    begin, end = BEGIN.format(name=name), END.format(name=name)
    old = path.read_text("utf-8")
    before, found, rest = old.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"{path} has no {begin} and {end}")
    path.write_text(f"{before}{begin}\n{text.strip()}\n{end}{after}", "utf-8")
