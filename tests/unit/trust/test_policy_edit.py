"""A person's policy file is changed without losing a word of theirs, or not at all."""

from __future__ import annotations

import pytest

from installml.errors import UsageError
from installml.trust.patterns import IdentityIs, IdentityLike, KeyIs, Pattern
from installml.trust.policy import Level, Place
from installml.trust.policy_document import parse_policy
from installml.trust.policy_edit import PolicyTooIntricate, add_signer, remove_rule, remove_signer

ALICE, BOB = KeyIs("sha256:" + "a" * 64), KeyIs("sha256:" + "b" * 64)
CI = IdentityIs('ci "x" \\ é@acme.example', "https://issuer.example")
ACME, OTHER = Place.parse("r.example/acme"), Place.parse("r.example/other")
MINE = f'''# whom we trust
version = 1

[[rules]]   # ours
prefix = "r.example/acme"
level = "warn"  # until May
signers = [
  # the old one
  {{ key = "{ALICE.fingerprint}" }},
]

[[rules.attestations]]
type = "sbom"

[[rules]]
prefix = "r.example"

[[revoked]]
key = "{BOB.fingerprint}"
'''


def add(text: str, place: Place, pattern: Pattern) -> str:
    return add_signer(text, "trust.toml", place, pattern)


def signers(text: str, place: Place) -> list[Pattern]:
    return [entry.pattern for entry in parse_policy(text.encode(), "x").rule_for(place).signers]


def test_the_first_signer_makes_a_file_that_a_person_can_read() -> None:
    assert add_signer("", "trust.toml", ACME, ALICE, "added 2026-03-01") == (
        '[[rules]]\nprefix = "r.example/acme"\nsigners = [\n'
        f'  {{ key = "{ALICE.fingerprint}" }},  # added 2026-03-01\n]\n'
    )


@pytest.mark.parametrize("pattern", [BOB, CI, IdentityLike("**@acme.example", "https://issuer.example")], ids=str)
def test_a_signer_is_added_to_the_rule_that_is_there_and_every_comment_stays(pattern: Pattern) -> None:
    changed = add(MINE, ACME, pattern)
    assert set(signers(changed, ACME)) == {ALICE, pattern}
    assert [line for line in MINE.splitlines() if line not in changed.splitlines()] == []
    assert parse_policy(changed.encode(), "x").rule_for(ACME).level is Level.WARN


def test_adding_and_removing_gives_the_same_text_again() -> None:
    assert remove_signer(add(MINE, ACME, BOB), "trust.toml", ACME, BOB) == MINE


def test_a_rule_without_signers_gets_them() -> None:
    changed = add(MINE, Place.parse("r.example"), BOB)
    assert signers(changed, OTHER) == [BOB]
    assert signers(changed, ACME) == [ALICE]


def test_a_prefix_without_a_rule_gets_one_at_the_end() -> None:
    changed = add(MINE, OTHER, CI)
    assert changed.startswith(MINE)
    assert signers(changed, OTHER) == [CI]


def test_who_is_there_already_is_not_added_again() -> None:
    assert add(MINE, ACME, ALICE) == MINE


def test_signers_on_one_line_are_added_to() -> None:
    text = f'[[rules]]\nprefix = "r.example/acme"\nsigners = [{{ key = "{ALICE.fingerprint}" }}]\n'
    assert set(signers(add(text, ACME, BOB), ACME)) == {ALICE, BOB}


def test_the_last_signer_takes_the_rule_along_and_leaves_the_others() -> None:
    changed = remove_signer(MINE, "trust.toml", ACME, ALICE)
    policy = parse_policy(changed.encode(), "x")
    assert [str(rule.prefix) for rule in policy.rules] == ["r.example"]
    assert policy.revocations == parse_policy(MINE.encode(), "x").revocations
    assert changed.startswith("# whom we trust\n")


def test_removing_the_only_rule_leaves_an_empty_file() -> None:
    assert remove_rule(add("", ACME, ALICE), "trust.toml", ACME) == ""


@pytest.mark.parametrize(
    "text",
    [
        # a rule inside a text of several lines, and rules on one line: the lines do not say where a rule is
        MINE + '\n[signers.x]\nkey = """\n[[rules]]\n"""\n',
        f'rules = [{{ prefix = "r.example/acme", signers = [{{ key = "{ALICE.fingerprint}" }}] }}]\n',
        f'[[rules]]\nprefix = "r.example/acme"\n\n[[rules.signers]]\nkey = "{ALICE.fingerprint}"\n',
    ],
)
def test_what_a_program_cannot_change_safely_is_left_to_the_person(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        add(text, ACME, BOB)
    assert raised.value.reference in ("policy-too-intricate", "policy-invalid")


def test_a_signer_written_in_another_way_is_left_to_the_person() -> None:
    text = f'''[signers.alice]
key = "{ALICE.fingerprint}"

[[rules]]
prefix = "r.example/acme"
signers = ["alice", {{ key = "{BOB.fingerprint}" }}]
'''
    with pytest.raises(PolicyTooIntricate) as raised:
        remove_signer(text, "trust.toml", ACME, ALICE)
    assert "Open it in an editor and take { key" in raised.value.hint


def test_who_is_not_there_cannot_be_removed() -> None:
    with pytest.raises(UsageError, match=r"has no rule for r\.example/acme that names key sha256:bbb"):
        remove_signer(MINE, "trust.toml", ACME, BOB)
    with pytest.raises(UsageError, match=r"has no rule for r\.example/other"):
        remove_rule(MINE, "trust.toml", OTHER)


def test_a_threshold_that_could_not_be_met_any_more_is_not_written() -> None:
    text = add(add("", ACME, ALICE), ACME, BOB).replace("signers = [", "threshold = 2\nsigners = [")
    with pytest.raises(PolicyTooIntricate):
        remove_signer(text, "trust.toml", ACME, BOB)
