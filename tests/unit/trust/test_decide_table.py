"""Every cell of {what was signed} x {pin} x {level} x {person there} x {flag}: verdict, exit code and reason.

The tables are written by hand from docs/concepts/trust-decision.md and read by a person; the code under test had no
part in them. A cell is an outcome and, after a colon, the reason; ``OUTCOMES`` and ``REASONS`` say what they stand for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from installml.trust.decide import decide
from installml.trust.evidence import Evidence, Signer, Unproved, UnprovedKind
from installml.trust.patterns import KeyIs
from installml.trust.pins import Mark, Memory, Pin
from installml.trust.policy import (
    FirstUse,
    Level,
    NoWorseThan,
    Place,
    Policy,
    RequiredAttestation,
    Revocation,
    Rule,
    Trusted,
)
from installml.trust.verdict import Outcome, Request

from .people import ALICE, BOB, CAROL, DAY, NOW, OTHER, PACKAGE, SCAN, STRANGER, asked, evidence, scan, signature

OUTCOMES = {  # outcome and exit code
    "ok": (Outcome.TRUSTED, 0),
    "ask": (Outcome.ASK, 4),
    "free": (Outcome.ALLOWED_UNSIGNED, 0),
    "warn": (Outcome.WARNED, 0),
    "off": (Outcome.OFF, 0),
    "no": (Outcome.REFUSED, 4),
}
REASONS = {
    "": "",
    "unsigned": "unsigned",
    "broken": "signature-invalid",
    "unknown": "signer-unknown",
    "changed": "signer-changed",
    "revoked": "signer-revoked",
    "few": "threshold-missed",
    "name": "subject-mismatch",
    "older": "outdated",
    "expired": "signature-expired",
    "scan": "attestation-missing",
}

# What was signed: rows. The policy knows Alice; where two are needed, Alice and Carol. "same" is a pin of whoever
# signed (of Alice where nobody did), "other" a pin of Bob.
COLUMNS = [(tty, flag) for tty in (False, True) for flag in ("", "unsigned", "downgrade")]

ENFORCE = """
                       | nobody there:                             | a person is there:
signed          pin    | -            --allow-uns.  --allow-downg. | -            --allow-uns.  --allow-downg.
known           none   | ok           ok            ok             | ok           ok            ok
known           same   | ok           ok            ok             | ok           ok            ok
known           other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
foreign         none   | ok           ok            ok             | ok           ok            ok
foreign         same   | ok           ok            ok             | ok           ok            ok
foreign         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
unknown         none   | no:unknown   free:unknown  no:unknown     | ask:unknown  free:unknown  ask:unknown
unknown         same   | ok           ok            ok             | ok           ok            ok
unknown         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
unsigned        none   | no:unsigned  free:unsigned no:unsigned    | no:unsigned  free:unsigned no:unsigned
unsigned        same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
unsigned        other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
broken          none   | no:broken    free:broken   no:broken      | no:broken    free:broken   no:broken
broken          same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
broken          other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
key-not-here    none   | no:unknown   free:unknown  no:unknown     | no:unknown   free:unknown  no:unknown
key-not-here    same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
key-not-here    other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-digest    none   | no:unsigned  free:unsigned no:unsigned    | no:unsigned  free:unsigned no:unsigned
other-digest    same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-digest    other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
two-digests     none   | no:unsigned  free:unsigned no:unsigned    | no:unsigned  free:unsigned no:unsigned
two-digests     same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
two-digests     other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-type      none   | no:unsigned  free:unsigned no:unsigned    | no:unsigned  free:unsigned no:unsigned
other-type      same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-type      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-repo      none   | no:name      free:name     no:name        | no:name      free:name     no:name
other-repo      same   | no:name      no:name       no:name        | no:name      no:name       no:name
other-repo      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-tag       none   | no:name      free:name     no:name        | no:name      free:name     no:name
other-tag       same   | no:name      no:name       no:name        | no:name      no:name       no:name
other-tag       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
expired         none   | no:expired   free:expired  no:expired     | no:expired   free:expired  no:expired
expired         same   | no:expired   no:expired    no:expired     | no:expired   no:expired    no:expired
expired         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
future          none   | no:expired   free:expired  no:expired     | no:expired   free:expired  no:expired
future          same   | no:expired   no:expired    no:expired     | no:expired   no:expired    no:expired
future          other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
revoked         none   | no:revoked   no:revoked    no:revoked     | no:revoked   no:revoked    no:revoked
revoked         same   | no:revoked   no:revoked    no:revoked     | no:revoked   no:revoked    no:revoked
revoked         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
one-of-two      none   | no:few       free:few      no:few         | no:few       free:few      no:few
one-of-two      same   | no:few       no:few        no:few         | no:few       no:few        no:few
one-of-two      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
twice-one       none   | no:few       free:few      no:few         | no:few       free:few      no:few
twice-one       same   | no:few       no:few        no:few         | no:few       no:few        no:few
twice-one       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
went-back       none   | no:older     no:older      ok             | no:older     no:older      ok
went-back       same   | no:older     no:older      ok             | no:older     no:older      ok
went-back       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
was-signed      none   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
was-signed      same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
was-signed      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
no-scan         none   | no:scan      free:scan     no:scan        | no:scan      free:scan     no:scan
no-scan         same   | no:scan      no:scan       no:scan        | no:scan      no:scan       no:scan
no-scan         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
bad-scan        none   | no:scan      free:scan     no:scan        | no:scan      free:scan     no:scan
bad-scan        same   | no:scan      no:scan       no:scan        | no:scan      no:scan       no:scan
bad-scan        other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
good-scan       none   | ok           ok            ok             | ok           ok            ok
good-scan       same   | ok           ok            ok             | ok           ok            ok
good-scan       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
"""

WARN = """
                       | nobody there:                             | a person is there:
signed          pin    | -            --allow-uns.  --allow-downg. | -            --allow-uns.  --allow-downg.
known           none   | ok           ok            ok             | ok           ok            ok
known           same   | ok           ok            ok             | ok           ok            ok
known           other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
foreign         none   | ok           ok            ok             | ok           ok            ok
foreign         same   | ok           ok            ok             | ok           ok            ok
foreign         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
unknown         none   | warn:unknown free:unknown  warn:unknown   | warn:unknown free:unknown  warn:unknown
unknown         same   | ok           ok            ok             | ok           ok            ok
unknown         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
unsigned        none   | warn:unsigned free:unsigned warn:unsigned | warn:unsigned free:unsigned warn:unsigned
unsigned        same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
unsigned        other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
broken          none   | warn:broken  free:broken   warn:broken    | warn:broken  free:broken   warn:broken
broken          same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
broken          other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
key-not-here    none   | warn:unknown free:unknown  warn:unknown   | warn:unknown free:unknown  warn:unknown
key-not-here    same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
key-not-here    other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-digest    none   | warn:unsigned free:unsigned warn:unsigned | warn:unsigned free:unsigned warn:unsigned
other-digest    same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-digest    other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
two-digests     none   | warn:unsigned free:unsigned warn:unsigned | warn:unsigned free:unsigned warn:unsigned
two-digests     same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
two-digests     other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-type      none   | warn:unsigned free:unsigned warn:unsigned | warn:unsigned free:unsigned warn:unsigned
other-type      same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-type      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-repo      none   | warn:name    free:name     warn:name      | warn:name    free:name     warn:name
other-repo      same   | warn:name    warn:name     warn:name      | warn:name    warn:name     warn:name
other-repo      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
other-tag       none   | warn:name    free:name     warn:name      | warn:name    free:name     warn:name
other-tag       same   | warn:name    warn:name     warn:name      | warn:name    warn:name     warn:name
other-tag       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
expired         none   | warn:expired free:expired  warn:expired   | warn:expired free:expired  warn:expired
expired         same   | warn:expired warn:expired  warn:expired   | warn:expired warn:expired  warn:expired
expired         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
future          none   | warn:expired free:expired  warn:expired   | warn:expired free:expired  warn:expired
future          same   | warn:expired warn:expired  warn:expired   | warn:expired warn:expired  warn:expired
future          other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
revoked         none   | warn:revoked warn:revoked  warn:revoked   | warn:revoked warn:revoked  warn:revoked
revoked         same   | warn:revoked warn:revoked  warn:revoked   | warn:revoked warn:revoked  warn:revoked
revoked         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
one-of-two      none   | warn:few     free:few      warn:few       | warn:few     free:few      warn:few
one-of-two      same   | warn:few     warn:few      warn:few       | warn:few     warn:few      warn:few
one-of-two      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
twice-one       none   | warn:few     free:few      warn:few       | warn:few     free:few      warn:few
twice-one       same   | warn:few     warn:few      warn:few       | warn:few     warn:few      warn:few
twice-one       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
went-back       none   | warn:older   warn:older    ok             | warn:older   warn:older    ok
went-back       same   | warn:older   warn:older    ok             | warn:older   warn:older    ok
went-back       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
was-signed      none   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
was-signed      same   | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
was-signed      other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
no-scan         none   | warn:scan    free:scan     warn:scan      | warn:scan    free:scan     warn:scan
no-scan         same   | warn:scan    warn:scan     warn:scan      | warn:scan    warn:scan     warn:scan
no-scan         other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
bad-scan        none   | warn:scan    free:scan     warn:scan      | warn:scan    free:scan     warn:scan
bad-scan        same   | warn:scan    warn:scan     warn:scan      | warn:scan    warn:scan     warn:scan
bad-scan        other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
good-scan       none   | ok           ok            ok             | ok           ok            ok
good-scan       same   | ok           ok            ok             | ok           ok            ok
good-scan       other  | no:changed   no:changed    no:changed     | no:changed   no:changed    no:changed
"""

BROKEN = Unproved(OTHER, UnprovedKind.INVALID, "the signature does not fit the statement")
NOT_HERE = Unproved(OTHER, UnprovedKind.UNKNOWN_KEY, "made with another key", "aGludA==")
SIGNED: dict[str, Evidence] = {
    "known": evidence(signature()),
    "foreign": evidence(signature(ref="", created=None)),
    "unknown": evidence(signature(STRANGER)),
    "unsigned": evidence(),
    "broken": evidence(unproved=(BROKEN,)),
    "key-not-here": evidence(unproved=(NOT_HERE,)),
    "other-digest": evidence(signature(subjects=(OTHER,))),
    "two-digests": evidence(signature(subjects=(PACKAGE, OTHER))),
    "other-type": evidence(scan()),
    "other-repo": evidence(signature(ref="registry.example.com/acme/vision:1.4.0")),
    "other-tag": evidence(signature(ref="registry.example.com/acme/sentiment:1.3.0")),
    "expired": evidence(signature(expires=NOW - 1)),
    "future": evidence(signature(created=NOW + 2 * DAY)),
    "revoked": evidence(signature()),
    "one-of-two": evidence(signature()),
    "twice-one": evidence(signature(), signature(created=NOW - 2 * DAY)),
    "went-back": evidence(signature()),
    "was-signed": evidence(),
    "no-scan": evidence(signature()),
    "bad-scan": evidence(signature(), scan(ALICE, "low", "critical")),
    "good-scan": evidence(signature(), scan(ALICE, "low")),
}
TWO = (Trusted(KeyIs(ALICE.fingerprint)), Trusted(KeyIs(CAROL.fingerprint)))


def policy(signed: str, level: Level) -> Policy:
    """Return the policy of a row: Alice is known and a person may be asked about others."""
    rule = Rule(Place.parse("registry.example.com/acme"), level, TWO[:1], first_use=FirstUse.ASK)
    if signed in ("one-of-two", "twice-one"):
        rule = replace(rule, signers=TWO, threshold=2, first_use=FirstUse.NEVER)
    if signed.endswith("-scan"):
        rule = replace(rule, attestations=(RequiredAttestation(SCAN, conditions=(NoWorseThan("medium"),)),))
    revoked = (Revocation(KeyIs(ALICE.fingerprint)),) if signed == "revoked" else ()
    return Policy((rule,), revoked)


def memory(signed: str, pin: str) -> Memory:
    """Return what the machine of a row remembers."""
    own: Signer = STRANGER if signed == "unknown" else ALICE
    pins = {"none": None, "same": Pin((own,)), "other": Pin((BOB,))}
    mark = Mark(NOW, OTHER) if signed == "went-back" else None
    return Memory(pins[pin], mark, signed_before=signed == "was-signed")


def cells() -> Iterator[tuple[str, Level, str, str, bool, str, str]]:
    """Yield table, row, column and what stands there."""
    for level, text in ((Level.ENFORCE, ENFORCE), (Level.WARN, WARN), (Level.OFF, ENFORCE)):
        for line in text.strip("\n").splitlines()[2:]:
            signed, pin, *found = line.replace("|", " ").split()
            assert len(found) == len(COLUMNS), line
            for (tty, flag), cell in zip(COLUMNS, found, strict=True):
                expected = "off" if level is Level.OFF else cell  # nothing is looked at, so nothing matters
                yield f"{signed}-{pin}-{level}", level, signed, pin, tty, flag, expected


CELLS = list(cells())


@pytest.mark.parametrize(
    ("level", "signed", "pin", "tty", "flag", "expected"),
    [cell[1:] for cell in CELLS],
    ids=[f"{name}-{'person' if tty else 'nobody'}-{flag or 'plain'}" for name, _, _, _, tty, flag, _ in CELLS],
)
def test_the_cell_has_its_verdict(level: Level, signed: str, pin: str, tty: bool, flag: str, expected: str) -> None:
    request = Request(asked(), PACKAGE, tty, allow_unsigned=flag == "unsigned", allow_downgrade=flag == "downgrade")
    verdict = decide(SIGNED[signed], request, policy(signed, level), memory(signed, pin), NOW)
    outcome, _, reason = expected.partition(":")
    assert (verdict.outcome, verdict.exit_code, verdict.reference) == (*OUTCOMES[outcome], REASONS[reason])


def test_the_tables_have_every_row_and_no_other() -> None:
    rows = {(level, signed, pin) for _, level, signed, pin, _, _, _ in CELLS}
    assert rows == {(level, signed, pin) for level in Level for signed in SIGNED for pin in ("none", "same", "other")}
    assert len(CELLS) == len({cell[:6] for cell in CELLS}) >= 1000
