"""Results to text or JSON: a table from a result's kind to the function that words it."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..api import results as r
from ..reference import LOCAL, Reference
from ..spec.units import format_size
from .screen import Screen

__all__ = ["CachePath", "Listening", "LogChunk", "Look", "render", "show"]


@dataclass(frozen=True, slots=True)
class CachePath(r.Result):
    """Where the store is."""

    path: str


@dataclass(frozen=True, slots=True)
class Listening(r.Result):
    """A registry answers under ``url``; ``address`` is what stands before the first slash of a reference."""

    url: str
    address: str
    root: str


@dataclass(frozen=True, slots=True)
class LogChunk(r.Result):
    """Text of a server's log; with ``--follow`` one document each time something was written."""

    text: str


@dataclass(frozen=True, slots=True)
class Look:
    """What the screen can show.

    Attributes:
        unicode: Whether marks and blocks can be shown.
    """

    unicode: bool = True


Lines = Iterable[str]


def show(result: r.Result, screen: Screen, *, as_json: bool) -> None:
    """Write ``result`` to standard output: one JSON document, or its text."""
    if as_json:
        screen.json(finite(r.to_json(result)))
        return
    text = render(result, Look(screen.shows("✓✗░▒▓█")))
    if text:
        screen.print(text)


def render(result: r.Result, look: Look) -> str:
    """Return the text of ``result``."""
    return "\n".join(line.rstrip() for line in WORDS[type(result).__name__](result, look))


def finite(value: Any) -> Any:
    """Return ``value`` with the numbers that JSON does not have (RFC 8259, section 6) as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    return [finite(item) for item in value] if isinstance(value, list) else value


def table(rows: Sequence[Sequence[str]], header: Sequence[str] = ()) -> Iterator[str]:
    """Yield the rows in columns as wide as their longest cell; never wrapped, so that scripts can cut them."""
    everything = [list(header), *rows] if header else list(rows)
    widths = [max(map(len, column)) for column in zip(*everything, strict=True)]
    for row in everything:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))


def card(pairs: Mapping[str, str]) -> Iterator[str]:
    """Yield names and values below each other, without the empty ones."""
    return table([(name, value) for name, value in pairs.items() if value])


def spelled(reference: Reference) -> str:
    """Return the shortest thing that can be typed: no digest beside a tag, no registry for what is local."""
    text = str(reference.with_tag(reference.tag) if reference.tag else reference)
    return text.removeprefix(f"{LOCAL}/")


def short(digest: Any) -> str:
    """Return enough of a digest for people."""
    return str(digest)[:19]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _notices(notices: Iterable[str]) -> Iterator[str]:
    return (f"note: {notice}" for notice in notices)


def _moved(result: r.PushResult | r.CopyResult) -> str:
    there = result.blobs.get("exists", 0) + result.blobs.get("mounted", 0)
    known = f", {_count(there, 'blob')} already there" if there else ""
    return f"{format_size(result.moved)} moved{known}"


def _init(result: r.InitResult, _: Look) -> Lines:
    if result.written:
        yield f"{result.format or 'unknown format'}: wrote {', '.join(result.written)}"
    else:
        yield result.recipe.rstrip("\n")
    yield from _notices(result.notices)
    yield f"next: installml build {_folder_of(result.path)}"


def _folder_of(recipe: str) -> str:
    return recipe.rpartition("/")[0] or "."


def _partial(part: r.PartialFiles) -> str:
    whole = f", with {', '.join(part.checkpoints)} whole" if part.checkpoints else ""
    return f"{len(part.files)} of {_count(part.of, 'file')}, {format_size(part.size)}{whole}"


def _partly(references: Iterable[str]) -> Iterator[str]:
    return (f"partial: {reference.removeprefix(f'{LOCAL}/')}" for reference in references)


def _build(result: r.BuildResult, _: Look) -> Lines:
    reference = spelled(result.reference)
    files = f"{_count(result.files, 'file')}, " if result.files else ""
    yield f"built {reference} ({files}{format_size(result.size)})"
    yield f"digest {result.digest}"
    local = result.destination != result.reference.registry
    if local and result.reference.registry in ("", LOCAL):
        yield f"next: installml push {reference} REGISTRY/{result.reference.repository}"
    else:
        yield f"next: installml {'push' if local else 'install'} {reference}"


def _push(result: r.PushResult, _: Look) -> Lines:
    yield f"pushed {spelled(result.reference)} ({_moved(result)})"
    yield f"digest {result.digest}"
    yield from (f"signed by {signer}" for signer in result.signers)
    yield f"next: installml install {spelled(result.reference)}"


def _pull(result: r.PullResult, _: Look) -> Lines:
    reused = f", {format_size(result.seeded)} were on this machine" if result.seeded else ""
    yield f"pulled {spelled(result.reference)} ({_moved(result)}{reused})"
    yield f"digest {result.digest}"
    yield from _notices(result.notices)
    if result.partial:
        yield f"partial: {_partial(result.partial)}"
        yield f"the rest: installml pull {spelled(result.reference)}"
    else:
        yield f"next: installml install {spelled(result.reference)}"


def _copy(result: r.CopyResult, _: Look) -> Lines:
    yield f"copied {result.source} to {result.destination} ({_moved(result)})"
    yield f"digest {result.digest}"


def _export(result: r.ExportResult, _: Look) -> Lines:
    yield f"exported {result.source} to {result.destination} ({format_size(result.size)})"
    yield f"digest {result.digest}"


def _tags(result: r.TagsResult, _: Look) -> Lines:
    return result.tags


def _tag(result: r.TagResult, _: Look) -> Lines:
    yield f"tagged {result.digest} as {spelled(result.reference)}"


def _remove(result: r.RemoveResult, _: Look) -> Lines:
    yield f"{'would remove' if result.dry_run else 'removed'} {result.reference} from {result.place}"


def _login(result: r.LoginResult, _: Look) -> Lines:
    if result.username:
        yield f"logged in to {result.registry} as {result.username}; kept in {result.stored}"
    else:
        yield f"logged out of {result.registry}"


def _key(result: r.KeyResult, _: Look) -> Lines:
    key = result.key
    yield f"{'imported' if result.imported else 'made'} the key {key.name} ({key.kind}, {_HOLDINGS[key.holding]})"
    yield f"fingerprint  {key.fingerprint}"
    yield f"kept in      {key.uri or key.path}"
    yield from _notices(result.notices)
    if key.holding != "public":
        yield f"next: installml keys export {key.name} > {key.name}.pub   (for those who shall trust it)"


_HOLDINGS = {
    "encrypted": "private, under a passphrase",
    "open": "private, open",
    "remote": "private, elsewhere",
    "public": "public only",
}


def _keys(result: r.KeyListResult, _: Look) -> Lines:
    if not result.keys:
        return ["no keys; make one with: installml keys generate NAME"]
    rows = [
        (
            key.name if key.current else f"{key.name}@{key.version}",
            key.kind,
            _HOLDINGS[key.holding],
            key.fingerprint,
            key.uri or key.path,
        )
        for key in result.keys
    ]
    return table(rows, ("NAME", "KIND", "HERE", "FINGERPRINT", "PLACE"))


def _key_export(result: r.KeyExportResult, _: Look) -> Lines:
    if result.written:
        return [f"wrote {' and '.join(result.written)}"]
    return [result.text.rstrip("\n")]


def _key_rotate(result: r.KeyRotateResult, _: Look) -> Lines:
    key, previous = result.key, result.previous
    yield f"the key {key.name} has a successor: version {key.version} ({key.kind}, {_HOLDINGS[key.holding]})"
    yield f"fingerprint  {key.fingerprint}"
    yield f"before       {previous.fingerprint}, kept as {previous.name}@{previous.version}"
    yield f"statement    {result.statement}"
    yield from _notices(result.notices)
    yield f"next: installml keys export {key.name} --rotation   (for those who trust the old one)"


def _trust_change(result: r.TrustChangeResult, _: Look) -> Lines:
    who = result.signer or "whoever was trusted"
    yield {
        "added": f"{result.prefix}: trusts {who}",
        "unchanged": f"{result.prefix}: trusted {who} already",
        "removed": f"{result.prefix}: no longer trusts {who}",
        "rotated": f"{result.prefix}: trusts {who} instead of whom it trusted before",
        "forgotten": f"{result.prefix}: forgot who was trusted and what was seen",
    }[result.change]
    if result.file:
        yield f"written to {result.file}"
    for repository in result.repositories:
        yield f"{'pinned' if result.change == 'rotated' else 'no longer pinned'}: {repository}"
    yield from _notices(result.notices)


def _trust_list(result: r.TrustListResult, _: Look) -> Lines:
    if not result.rules and not result.pins:
        yield "nobody is trusted in advance; somebody at a terminal is asked at the first use of a signed package"
        yield "trust somebody with: installml trust add REGISTRY/PATH --key FILE"
    yield from _trust_rules(result.rules)
    if result.pins:
        rows = [(pin.repository, " or ".join(pin.signers), f"{pin.how} {pin.pinned}") for pin in result.pins]
        yield from table(rows, ("PINNED", "SIGNER", "SINCE"))


def _trust_rules(rules: Sequence[r.TrustRule]) -> Lines:
    rows = [(rule.prefix, rule.level, who, rule.origin) for rule in rules for who in _who_may(rule)]
    return table(rows, ("PREFIX", "LEVEL", "SIGNERS", "FROM")) if rows else ()


def _who_may(rule: r.TrustRule) -> Sequence[str]:
    if rule.level == "off":
        return ["not looked at"]
    needed = f"{rule.threshold} of these:" if rule.threshold > 1 else ""
    asked = "whoever somebody at a terminal accepts" if rule.first_use == "ask" else ""
    return [who for who in (needed, *rule.signers, asked) if who]


def _policy(result: r.PolicyResult, _: Look) -> Lines:
    yield f"policy: {', then '.join(result.files) or 'none written; signatures are enforced, nobody is known'}"
    yield from _trust_rules(result.rules)
    for rule in result.rules:
        more = {
            "attestations": ", ".join(rule.attestations),
            "oldest": f"{rule.max_age} s" if rule.max_age is not None else "",
            "going back": rule.rollback if rule.rollback != "refuse" else "",
            "mirror of": rule.mirror_of,
        }
        for name, value in more.items():
            if value:
                yield f"{rule.prefix}: {name} {value}"
    for revoked in result.revoked:
        yield f"revoked: {revoked}"
    if result.decides is not None:
        yield f"decides: {result.decides.prefix} ({result.decides.origin})"


def _trust_test(result: r.TrustTestResult, look: Look) -> Lines:
    marks = {"met": "ok", "failed": "problem", "noted": "noted"}
    for step in result.steps:
        yield f"{_mark(marks[step.state], look)} {step.rule:<11} {step.sentence}"
    yield ""
    yield result.message
    if result.hint:
        yield f"hint: {result.hint}"


def _index(result: r.IndexResult, _: Look) -> Lines:
    if not result.files:
        yield f"{spelled(result.reference)} has no file of 8 MiB or more; it needs no chunk index"
        return
    what = f"{_count(result.files, 'file')}, {_count(result.chunks, 'chunk')}, {format_size(result.size)}"
    state = "has its chunk indexes already" if result.unchanged else f"indexed in {result.place}"
    yield f"{spelled(result.reference)} {state} ({what})"
    yield f"digest {result.chunks_digest}"


def _sbom(result: r.SbomResult, _: Look) -> Lines:
    if not result.output:
        from ..api.sbom import written

        yield written(result.document)
        return
    what = _count(result.files, "file")
    what += f", {_count(result.libraries, 'locked distribution')}" if result.libraries else ", no lock"
    yield f"{result.spec} of {spelled(result.reference)} written to {result.output} ({what})"


def _scan(result: r.ScanResult, look: Look) -> Lines:
    for finding in result.findings:
        yield from _found(finding)
    for hidden in result.suppressed:
        place = _scanned_place(hidden.finding)
        yield f"suppressed  {hidden.finding.rule}  {place}: {hidden.reason} ({hidden.who}, until {hidden.expires})"
    yield from _notices(result.notices)
    if result.unknown:
        more = f" and {len(result.unknown) - 5} more" if len(result.unknown) > 5 else ""
        yield f"not looked into, because no scanner knows them: {', '.join(result.unknown[:5])}{more}"
    counts = ", ".join(f"{number} {severity}" for severity, number in result.counts.items()) or "nothing found"
    counts += f", {len(result.suppressed)} suppressed" if result.suppressed else ""
    mark = _mark("problem" if result.blocked else "warning" if result.findings else "ok", look)
    yield f"{mark} {result.target}: {_count(result.files, 'file')}, {format_size(result.size)} scanned, {counts}"
    if result.blocked:
        yield f"blocked: the gate lets nothing through from {result.block} on"


def _found(finding: r.ScanFinding) -> Lines:
    yield f"{finding.severity}  {finding.rule}  {_scanned_place(finding)}"
    yield f"    {finding.title}: {finding.detail}"
    yield f"    why: {finding.explanation}"
    yield f"    do: {finding.advice}"


def _scanned_place(finding: r.ScanFinding) -> str:
    inside = f" in {finding.inner}" if finding.inner else ""
    return f"{finding.path}{inside}" + (f", byte {finding.offset}" if finding.offset is not None else "")


def _info(result: r.InfoResult, _: Look) -> Lines:
    yield from card(
        {
            "name": result.name,
            "version": result.version,
            "about": result.description,
            "licence": result.license,
            "engine": result.engine,
            "size": format_size(result.size),
            "hardware": "; ".join(result.hardware) or "any",
            "reference": spelled(result.reference),
            "digest": str(result.digest),
            "found in": result.place,
            "checkpoints": ", ".join(result.checkpoints),
            "installed": result.installed,
            "partial": _partial(result.partial) if result.partial else "",
            "update": _update(result.update) if result.update else "",
        }
    )
    yield ""
    yield from table(
        [(file.path, file.role, format_size(file.size), short(file.digest)) for file in result.files],
        ("FILE", "ROLE", "SIZE", "DIGEST"),
    )
    if result.attestations is not None:
        yield ""
        yield from _attestations(result.attestations)


def _attestations(attestations: Sequence[r.AttestationInfo]) -> Lines:
    if not attestations:
        yield "nothing is signed about it"
        return
    rows = [
        (_statement(one.type), one.state, one.key or one.signer[:23], one.made, one.summary or one.reason)
        for one in attestations
    ]
    yield from table(rows, ("STATEMENT", "SIGNATURE", "SIGNER", "MADE", "ABOUT"))


def _sign(result: r.SignResult, look: Look) -> Lines:
    reference = spelled(result.reference)
    who = f" ({result.key})" if result.key else ""
    yield f"{_mark('ok', look)} {reference} signed by {result.signer}{who}"
    yield from card(
        {
            "digest": str(result.digest),
            "covers": f"the manifest and {_count(result.files, 'file')}" + (", every chunk" if result.chunks else ""),
            "name": result.ref or "none: no registry has it",
            "expires": result.expires,
            "attached": ", ".join(_signed_as(one) for one in result.signatures),
            "where": result.place,
        }
    )
    by = f"--identity {shlex.quote(result.identity)} --issuer {shlex.quote(result.issuer)}"
    yield f"next: installml verify {reference} {by if result.identity else f'--key {result.key or result.fingerprint}'}"


def _signed_as(one: r.SignatureInfo) -> str:
    return "signature in cosign's classic form" if one.over == "classic" else _statement(one.type)


def _verify(result: r.VerifyResult, look: Look) -> Lines:
    yield f"{_mark('ok' if result.trusted else 'problem', look)} {result.message}"
    yield from card(
        {
            "digest": str(result.digest or ""),
            "read from": result.place,
            "policy": result.policy,
            "files": _verified_files(result),
        }
    )
    if result.signatures:
        yield ""
        yield from table([_verified(one) for one in result.signatures], ("SIGNATURE", "BY", "MADE", "UNTIL", "COUNTS"))
    yield ""
    marks = {"met": "ok", "failed": "problem", "noted": "noted"}
    yield from (f"{_mark(marks[step.state], look)} {step.rule:<11} {step.sentence}" for step in result.steps)
    yield from (f"  - {difference}" for difference in result.differences[:_DIFFERENCES])
    if len(result.differences) > _DIFFERENCES:
        yield f"  - and {len(result.differences) - _DIFFERENCES} more"
    if result.hint:
        yield f"hint: {result.hint}"


_DIFFERENCES = 20
"""Files that are named one by one; JSON has all."""


def _verified_files(result: r.VerifyResult) -> str:
    if result.files is None:
        return ""
    subset = ": a subset of the signed manifest, as it was installed" if result.subset else ""
    return f"{result.files} hashed{subset}"


def _verified(one: r.VerifiedSignature) -> tuple[str, ...]:
    said = "" if one.proved or not one.made else " (said)"
    made = f"{one.made}{said}" + (f", {one.log}" if one.log else "")
    return (_statement(one.type), one.key or one.signer[:23] or "?", made, one.expires, one.reason or "yes")


_STATEMENTS = {
    "https://sigstore.dev/cosign/sign/v1": "signature",
    "https://model_signing/signature/v1.0": "signature of the files",
    "https://cyclonedx.org/bom": "sbom",
    "https://spdx.dev/Document/v3.0.1": "spdx",
    "https://slsa.dev/provenance/v1": "provenance",
    "https://installml.dev/scan/v1": "scan",
    "": "unknown",
}


def _statement(kind: str) -> str:
    """Return the short name of a predicate type."""
    return _STATEMENTS.get(kind, kind)


def _attest(result: r.AttestResult, _: Look) -> Lines:
    reference = spelled(result.reference)
    yield f"{_statement(result.type)} ({format_size(result.size)}) attached to {reference} in {result.place}"
    yield f"signer {result.signer}"
    yield f"next: installml info {reference} --attestations"


def _update(update: r.UpdateInfo) -> str:
    fetch = f"{format_size(update.size)} in {_count(update.requests, 'request')}"
    return f"from {spelled(update.reference)}: {fetch}, {_count(update.files, 'file')} changed"


def _list(result: r.ListResult, _: Look) -> Lines:
    if not result.packages:
        yield "nothing here yet; next: installml install REF, or installml demo"
        return
    rows = [
        (spelled(p.reference), p.version, format_size(p.size), "yes" if p.installed else "", short(p.digest))
        for p in result.packages
    ]
    yield from table(rows, ("REFERENCE", "VERSION", "SIZE", "INSTALLED", "DIGEST"))
    yield from (f"partial: {spelled(p.reference)}: {_partial(p.partial)}" for p in result.packages if p.partial)


def _install(result: r.InstallResult, _: Look) -> Lines:
    state = "is installed already" if result.unchanged else "installed" if result.path else "would be installed"
    part = f"{format_size(result.partial.size)} of " if result.partial else ""
    yield f"{result.name} {result.version} {state} ({part}{format_size(result.size)})"
    if result.partial:
        yield f"partial: {_partial(result.partial)}"
    yield from card(
        {
            "path": result.path,
            "source": result.source,
            "digest": _checked(result),
            "variant": result.variant,
            "signers": ", ".join(result.signers),
            "python": result.python,
            "fetch": "" if result.path else f"{format_size(result.moved)} in {_count(result.requests, 'request')}",
            "reused": f"{format_size(result.seeded)} were on this machine" if result.seeded else "",
        }
    )
    yield from result.notices
    yield _after_install(result)


def _after_install(result: r.InstallResult) -> str:
    if result.partial and result.path and not result.partial.checkpoints:
        return f"the rest: installml install {spelled(result.reference)}"
    return f"next: installml {f'serve {result.name}' if result.path else f'install {spelled(result.reference)}'}"


def _checked(result: r.InstallResult) -> str:
    if not result.path:
        return str(result.digest)
    return f"{result.digest}, every byte checked" + ("" if result.moved else " when it was fetched")


def _uninstall(result: r.UninstallResult, _: Look) -> Lines:
    yield f"uninstalled {result.name} {result.version}"
    yield "next: installml cache gc frees what nothing else needs"


def _server(result: r.RunningServer, _: Look) -> Lines:
    yield f"serving {result.name} {result.version} at {result.url}"
    header = ' -H "Authorization: Bearer $TOKEN"' if result.token else ""
    yield f"try: curl{header} {result.url}/v2/models/{result.name}"
    yield f"stop: installml stop {result.name}"


def _ps(result: r.ServerList, _: Look) -> Lines:
    if not result.servers and not result.transfers:
        yield "no server runs; next: installml serve NAME --detach"
    if result.servers:
        rows = [(s.name, s.version, s.url, str(s.pid), s.started, s.id) for s in result.servers]
        yield from table(rows, ("NAME", "VERSION", "URL", "PID", "SINCE", "ID"))
    if result.servers and result.transfers:
        yield ""
    if result.transfers:
        moving = [
            (t.verb, t.package, t.state, f"{math.floor(t.fraction * 100)} %", _speed(t), t.started, t.id)
            for t in result.transfers
        ]
        yield from table(moving, ("VERB", "PACKAGE", "STATE", "DONE", "SPEED", "SINCE", "ID"))
        yield from (f"{t.id}: {t.message}" for t in result.transfers if t.message)


def _speed(transfer: r.Transfer) -> str:
    return f"{format_size(transfer.speed)}/s" if transfer.state == "running" else ""


def _transfer(result: r.Transfer, _: Look) -> Lines:
    yield f"{result.verb} of {result.package} goes on in the background as {result.id}"
    yield "progress: installml ps"
    yield f"lines: installml logs {result.id} --follow"
    yield f"stop: installml stop {result.id}"


def _stop(result: r.StopResult, _: Look) -> Lines:
    yield f"stopped {', '.join(result.stopped)}" if result.stopped else "no server runs"


def _log(result: LogChunk, _: Look) -> Lines:
    return result.text.removesuffix("\n").split("\n")


def _predict(result: r.PredictResult, _: Look) -> Lines:
    for output in result.outputs:
        shape = " x ".join(map(str, output.get("shape", ()))) or "scalar"
        yield f"{output.get('name', '')} {output.get('datatype', '')} [{shape}]: {_values(output.get('data', []))}"


_SHOWN = 16
"""Numbers of one output that people want to read; JSON has all."""


def _values(data: Any) -> str:
    if not isinstance(data, list):
        return json.dumps(data)
    more = f", … {len(data) - _SHOWN} more" if len(data) > _SHOWN else ""
    return ", ".join(_value(item) for item in data[:_SHOWN]) + more


def _value(item: Any) -> str:
    return f"{item:.6g}" if isinstance(item, float) else json.dumps(item, ensure_ascii=False)


def _test(result: r.TestResult, _: Look) -> Lines:
    what = f"{result.name} {result.version}"
    if result.recorded:
        yield f"{what}: answer written to {result.recorded}"
    elif not result.compared:
        yield f"{what} answers; there is no recorded answer to compare with"
        yield "next: installml test DIR --record"
    elif result.passed:
        yield f"{what} passed: the answer is the recorded one"
    else:
        yield f"{what} failed: the answer is not the recorded one"
        yield from (f"  - {difference}" for difference in result.differences)


def _cache_df(result: r.CacheUsage, _: Look) -> Lines:
    sizes = {
        "packages": result.packages,
        "  reclaimable": result.reclaimable,
        "unfinished": result.staging,
        "installed": result.installed,
        "runtimes": result.runtimes,
        "free on disk": result.free,
    }
    yield result.home
    yield from table([(name, format_size(size)) for name, size in sizes.items()])
    if result.reclaimable or result.staging:
        yield "next: installml cache gc"


def _cache_gc(result: r.Collection, _: Look) -> Lines:
    things = f"{_count(result.blobs, 'blob')}, {result.staging} unfinished, {_count(result.runtimes, 'runtime')}"
    verb = "would free" if result.dry_run else "freed"
    yield f"{verb} {format_size(result.freed)} ({things})"


def _cache_verify(result: r.CacheVerification, _: Look) -> Lines:
    yield f"{_count(result.checked, 'blob')} checked, {len(result.damaged)} damaged"
    yield from _partly(result.partial)


def _repair(result: r.RepairResult, _: Look) -> Lines:
    mended = f"{len(result.mended)} mended with {format_size(result.moved)} fetched" if result.mended else "0 damaged"
    yield f"{_count(result.checked, 'blob')} checked, {mended}"
    yield from (f"relinked {path}" for path in result.relinked)
    yield from _partly(result.partial)


def _path(result: CachePath, _: Look) -> Lines:
    yield result.path


def _hardware(result: r.HardwareReport, look: Look) -> Lines:
    if result.fits is None:
        yield from card({_words(name): _fact(name, value) for name, value in result.machine.items()})
        return
    if result.fits:
        yield f"{_mark('ok', look)} {result.reference} fits{f': {result.variant}' if result.variant else ''}"
        return
    yield f"{_mark('problem', look)} {result.reference} does not fit this machine"
    yield from (f"  - {shortfall}" for shortfall in result.shortfalls)


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name)


def _fact(name: str, value: Any) -> str:
    if name in ("memory", "diskFree"):
        return format_size(value) if value else "unknown"
    if name == "accelerators":
        return "; ".join(_accelerator(gpu) for gpu in value) or "none"
    return f"{len(value)}, named with --format json" if isinstance(value, list) else str(value)


def _accelerator(gpu: Mapping[str, Any]) -> str:
    parts = (gpu["name"], format_size(gpu["memory"]) if gpu["memory"] else "", gpu["compute"], gpu["driver"])
    return ", ".join(part for part in parts if part)


_MARKS = {"ok": ("✓", "ok"), "warning": ("!", "!"), "problem": ("✗", "x"), "noted": ("·", "-")}


def _mark(state: str, look: Look) -> str:
    return _MARKS[state][0 if look.unicode else 1]


def _doctor(result: r.DoctorReport, look: Look) -> Lines:
    for finding in result.findings:
        yield f"{_mark(finding.state, look)} {finding.check}: {finding.message}"
        if finding.hint:
            yield f"    {finding.hint}"


def _settings(result: r.SettingsResult, _: Look) -> Lines:
    rows = [(setting.name, _setting(setting.value), setting.origin) for setting in result.settings]
    yield from table(rows, ("SETTING", "VALUE", "FROM"))


def _setting(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _listening(result: Listening, _: Look) -> Lines:
    yield f"registry at {result.url}, folder {result.root}"
    yield f"try: installml push DIR -t {result.address}/NAME:VERSION"
    yield "stop: Ctrl-C"


def _demo(result: r.DemoResult, look: Look) -> Lines:
    yield from table([(f"{s.seconds:6.1f} s", s.command, s.outcome) for s in result.steps])
    yield f"{result.seconds:6.1f} s in all"
    for start in range(0, len(result.digits), _DIGITS_A_ROW):
        yield ""
        yield from _digits(result.digits[start : start + _DIGITS_A_ROW], look)
    right = sum(digit.truth == digit.answer for digit in result.digits)
    yield ""
    yield f"{right} of {len(result.digits)} held-out digits read correctly; nothing is left running"
    if result.wheels:
        yield f"the runtime environment took: {', '.join(result.wheels)}"
    yield "next, with a model of your own:"
    yield from (f"  installml {line}" for line in ("init DIR", "test DIR", "push DIR -t REGISTRY/NAME:VERSION"))


_DIGITS_A_ROW = 5
_SHADES = {True: " ░▒▓█", False: " .:*#"}
_CELL = 16
"""Columns of a digit: 8 pixels, each two characters wide, because characters are twice as high as wide."""


def _digits(digits: Sequence[r.DemoDigit], look: Look) -> Iterator[str]:
    for row in range(len(digits[0].pixels)):
        yield "".join(_pixels(digit.pixels[row], _SHADES[look.unicode]) for digit in digits)
    yield "".join(_answer(digit, look).center(_CELL) for digit in digits)


def _pixels(row: Sequence[int], shades: str) -> str:
    return "".join(shades[min(4, pixel * 5 // 17)] * 2 for pixel in row)


def _answer(digit: r.DemoDigit, look: Look) -> str:
    right = digit.truth == digit.answer
    mark = _mark("ok" if right else "problem", look)
    return f"{digit.answer} {mark} {digit.confidence:.0%}" + ("" if right else f" is {digit.truth}")


WORDS: Mapping[str, Callable[[Any, Look], Lines]] = {
    "AttestResult": _attest,
    "CachePath": _path,
    "Listening": _listening,
    "LogChunk": _log,
    "BuildResult": _build,
    "CacheUsage": _cache_df,
    "CacheVerification": _cache_verify,
    "Collection": _cache_gc,
    "CopyResult": _copy,
    "DemoResult": _demo,
    "DoctorReport": _doctor,
    "ExportResult": _export,
    "HardwareReport": _hardware,
    "IndexResult": _index,
    "InfoResult": _info,
    "InitResult": _init,
    "InstallResult": _install,
    "KeyExportResult": _key_export,
    "KeyListResult": _keys,
    "KeyResult": _key,
    "KeyRotateResult": _key_rotate,
    "ListResult": _list,
    "LoginResult": _login,
    "PredictResult": _predict,
    "PullResult": _pull,
    "PushResult": _push,
    "RemoveResult": _remove,
    "RepairResult": _repair,
    "RunningServer": _server,
    "SbomResult": _sbom,
    "ScanResult": _scan,
    "ServerList": _ps,
    "SettingsResult": _settings,
    "SignResult": _sign,
    "StopResult": _stop,
    "TagResult": _tag,
    "TagsResult": _tags,
    "TestResult": _test,
    "Transfer": _transfer,
    "PolicyResult": _policy,
    "TrustChangeResult": _trust_change,
    "TrustListResult": _trust_list,
    "TrustTestResult": _trust_test,
    "UninstallResult": _uninstall,
    "VerifyResult": _verify,
}
"""Kind of result to its words. By name, so that only the kind that is shown is loaded."""
