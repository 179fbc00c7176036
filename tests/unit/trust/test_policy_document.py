"""How a policy is read: what it may say, what is refused and with which words, and the published schema."""

from __future__ import annotations

import contextlib
import copy
import json
import re
import tomllib
from collections.abc import Iterator
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from installml.reference import Reference
from installml.trust.errors import PolicyInvalid
from installml.trust.keys import PublicKey
from installml.trust.patterns import AllOf, AnyOf, IdentityIs, IdentityLike, KeyIs, Not, UnsafeAnyone
from installml.trust.policy import Equals, FirstUse, Level, NoWorseThan, Place, Policy, Rollback
from installml.trust.policy_document import MAX_POLICY, parse_policy

SCHEMA = json.loads(resources.files("installml.trust").joinpath("policy.schema.json").read_bytes())
VALIDATOR = Draft202012Validator(SCHEMA)
KEY = "sha256:" + "a" * 64
ISSUER = "https://token.actions.githubusercontent.com"
PEM = PublicKey.of_key(ec.generate_private_key(ec.SECP256R1()).public_key()).pem
FULL = f'''
version = 1

[signers.release]
identity_glob = "https://github.com/acme/*/.github/workflows/release.yml@refs/tags/**"
issuer = "{ISSUER}"

[signers.maintainers]
any_of = [
  {{ key = "{KEY}" }},
  {{ all_of = [
    {{ identity_glob = "*@acme.example", issuer = "https://accounts.example.com" }},
    {{ not = {{ identity = "intern@acme.example", issuer = "https://accounts.example.com" }} }},
  ] }},
]

[signers.spelled-out]
key = """
{PEM}"""

[[rules]]
prefix = "*"
level = "warn"

[[rules]]
prefix = "registry.example.com/acme"
level = "enforce"
signers = ["release", "maintainers", {{ identity = "bot@acme.example", issuer = "https://accounts.example.com" }}]
threshold = 2
first_use = "never"
rollback = "allow"
max_age = "90d"
mirror_of = "upstream.example.com/acme"

[[rules.attestations]]
type = "scan"
signers = ["release"]
max_severity = "medium"
max_age = "2w"

[[rules.attestations]]
type = "provenance"
equals = {{ "runDetails.builder.id" = "https://builder.example", "count" = 3, "clean" = true }}

[[rules]]
prefix = "localhost:5000"
level = "off"

[[rules]]
prefix = "open.example.com"
signers = [{{ unsafe_anyone = true }}]

[[revoked]]
key = "{KEY}"
since = 2026-03-01T00:00:00Z
reason = "a stolen laptop"
'''


def read(text: str) -> Policy:
    return parse_policy(text.encode(), "trust.toml")


def violations(text: str) -> tuple[str, ...]:
    with pytest.raises(PolicyInvalid) as raised:
        read(text)
    return raised.value.violations


def rule(text: str, prefix: str = "registry.example.com/acme") -> str:
    return f'[[rules]]\nprefix = "{prefix}"\n{text}\n'


def test_everything_that_can_be_said_is_read() -> None:
    policy = read(FULL)
    found = policy.rule_for(Place.of(Reference.parse("registry.example.com/acme/sentiment:1")))
    assert (found.level, found.threshold, found.first_use, found.rollback, found.max_age) == (
        Level.ENFORCE,
        2,
        FirstUse.NEVER,
        Rollback.ALLOW,
        90 * 86_400,
    )
    assert [entry.name for entry in found.signers] == ["release", "maintainers", ""]
    assert found.signers[1].pattern == AnyOf(
        (
            KeyIs(KEY),
            AllOf(
                (
                    IdentityLike("*@acme.example", "https://accounts.example.com"),
                    Not(IdentityIs("intern@acme.example", "https://accounts.example.com")),
                )
            ),
        )
    )
    scan, provenance = found.attestations
    assert (scan.conditions, scan.max_age) == ((NoWorseThan("medium"),), 14 * 86_400)
    assert provenance.type == "https://slsa.dev/provenance/v1"
    assert provenance.conditions == (
        Equals("runDetails.builder.id", "https://builder.example"),
        Equals("count", 3),
        Equals("clean", True),
    )
    assert [key.pem for key in policy.keys] == [PEM]
    assert policy.revocations[0].since == int(datetime.fromisoformat("2026-03-01T00:00:00Z").timestamp())
    assert policy.rule_for(Place.parse("open.example.com/x")).signers[0].pattern == UnsafeAnyone()


def test_an_empty_document_knows_nobody_and_asks() -> None:
    found = read("").rule_for(Place.parse("registry.example.com/x"))
    assert (found.level, found.signers, found.first_use) == (Level.ENFORCE, (), FirstUse.ASK)


def test_nobody_else_is_asked_about_where_signers_are_named() -> None:
    policy = read(rule(f'signers = [{{ key = "{KEY}" }}]') + rule("", "registry.example.com"))
    assert policy.rule_for(Place.parse("registry.example.com/acme")).first_use is FirstUse.NEVER
    assert policy.rule_for(Place.parse("registry.example.com")).first_use is FirstUse.ASK


@pytest.mark.parametrize(
    ("place", "prefix"),
    [
        ("registry.example.com/acme", "registry.example.com/acme"),
        ("registry.example.com/acme/x/y", "registry.example.com/acme"),
        ("registry.example.com/acme-evil", "registry.example.com"),
        ("registry.example.com/acm", "registry.example.com"),
        ("registry.example.com:443/acme/x", "registry.example.com/acme"),
        ("REGISTRY.example.com/acme/x", "registry.example.com/acme"),
        ("registry.example.com:8443/acme/x", "*"),
        ("registry.example.com.evil.example/acme/x", "*"),
        ("index.docker.io/acme/x", "docker.io/acme"),
        ("registry-1.docker.io/acme/x", "docker.io/acme"),
    ],
)
def test_the_longest_prefix_decides_by_whole_components_and_any_name_of_the_registry(place: str, prefix: str) -> None:
    prefixes = ("*", "registry.example.com", "registry.example.com/acme", "docker.io/acme")
    policy = read("".join(rule("", each) for each in prefixes))
    assert str(policy.rule_for(Place.of(Reference.parse(place))).prefix) == prefix


def test_a_given_policy_decides_and_ones_own_is_asked_for_the_rest() -> None:
    given = parse_policy(rule('level = "off"').encode(), "given.toml")
    own = parse_policy(
        (rule("", "registry.example.com/acme/x") + rule("", "registry.example.com")).encode(), "own.toml"
    )
    both = given.over(own)
    origins = [both.rule_for(Place.parse(f"registry.example.com/{name}")).origin for name in ("acme/x", "other")]
    assert origins == ["given.toml", "own.toml"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (rule('levle = "off"'), "rules[0]: unknown key 'levle', did you mean 'level'?"),
        (rule('level = "of"'), "rules[0].level: 'of' is not known, did you mean 'off'?"),
        ('[signer.x]\nkey = "y"', "unknown key 'signer', did you mean 'signers'?"),
        ("version = 2", "version: 2 is not between 1 and 1"),
        ("[[rules]]\nlevel = 'off'", "rules[0]: 'prefix' is missing"),
        (rule("", "acme"), "rules[0].prefix: 'acme' is not a prefix"),
        (rule("", "registry.example.com/acme:1.0"), "'registry.example.com/acme:1.0' is not a prefix"),
        (rule("", "registry.example.com/*"), "'registry.example.com/*' is not a prefix"),
        (rule("", "registry.example.com/acme/"), "'registry.example.com/acme/' is not a prefix"),
        (rule("", "**"), "'**' is not a prefix"),
        (rule("") + rule(""), "the prefix registry.example.com/acme has two rules"),
        (rule("") + rule("", "registry.example.com:443/acme"), "has two rules"),
        (rule('signers = ["nobody"]'), "rules[0].signers[0]: there is no signer 'nobody'"),
        (rule("signers = []"), "rules[0].signers: is empty"),
        (rule(f'signers = [{{ key = "{KEY}" }}]\nthreshold = 2'), "2 of 1 signers can never be met"),
        (rule("threshold = 2"), "2 of 0 signers can never be met"),
        (
            rule(f'signers = [{{ key = "{KEY}" }}, {{ key = "{KEY}" }}]\nthreshold = 2\nfirst_use = "ask"'),
            "one person's answer does not make a threshold",
        ),
        (rule('signers = [{ key = "abc" }]'), "'abc' is neither a fingerprint nor a public key"),
        (rule('signers = [{ key = "" }]'), "'' is neither a fingerprint nor a public key"),
        (rule(f'signers = [{{ key = "SHA256:{"a" * 64}" }}]'), "is neither a fingerprint nor a public key"),
        (rule('signers = [{ identity = "a@b.example" }]'), "an identity needs its issuer"),
        (rule('signers = [{ identity = "a@b.example", issuer = "*" }]'), "which is never a glob"),
        (rule(f'signers = [{{ key = "{KEY}", issuer = "{ISSUER}" }}]'), "a key has no issuer"),
        (rule("signers = [{}]"), "names nobody"),
        (rule(f'signers = [{{ key = "{KEY}", identity = "x", issuer = "{ISSUER}" }}]'), "names key and identity"),
        (rule(f'signers = [{{ identity_glob = "**", issuer = "{ISSUER}" }}]'), "'**' means everybody"),
        (rule(f'signers = [{{ identity_glob = "https://**", issuer = "{ISSUER}" }}]'), "means everybody"),
        (rule("signers = [{ all_of = [] }]"), "of nothing, all_of would mean everybody"),
        (rule("signers = [{ any_of = [] }]"), "is empty"),
        (rule(f'signers = [{{ not = {{ key = "{KEY}" }} }}]'), "means everybody but a few"),
        (rule(f'signers = [{{ all_of = [{{ not = {{ key = "{KEY}" }} }}] }}]'), "means everybody but a few"),
        (rule(f'signers = [{{ any_of = [{{ key = "{KEY}" }}, {{ not = {{ key = "{KEY}" }} }}] }}]'), "but a few"),
        (rule("signers = [{ unsafe_anyone = false }]"), "unsafe_anyone: must be true"),
        (rule("signers = [{ unsafe_anyone = 1 }]"), "unsafe_anyone: must be true"),
        (rule('max_age = "90"'), "'90' is not a length of time"),
        (rule('mirror_of = "*"'), "name the registry whose packages these are"),
        (rule('attestations = [{ type = "scans" }]'), "'scans' is not scan, sbom, provenance or a URI"),
        (rule('attestations = [{ type = "sbom", max_severity = "low" }]'), "only a scan has severities"),
        (
            rule('attestations = [{ type = "sbom", equals = { a = 1.5 } }]'),
            "must be text, a whole number or true/false",
        ),
        (rule('attestations = [{ type = "sbom", equals = { "a..b" = 1 } }]'), "names joined by dots"),
        (f'[[revoked]]\nkey = "{KEY}"\nsince = 2026-03-01T00:00:00', "must be a moment with its time zone"),
        (f'[[revoked]]\nkey = "{KEY}"\nsince = 2026-03-01', "must be a moment with its time zone"),
        ("[[revoked]]\nreason = 'x'", "names nobody"),
        ("[signers.Release]\nunsafe_anyone = true", "a name has lowercase letters"),
        ("[signers.unused]\nkey = 'x'", "signers['unused'].key: 'x' is neither a fingerprint"),
        ("rules = 1", "rules: must be a list, not a whole number"),
        ("a = 1\na = 2", "not TOML"),
        ("\x00", "not TOML"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_its_place(text: str, said: str) -> None:
    assert any(said in violation for violation in violations(text))


def test_every_violation_is_told_at_once() -> None:
    found = violations(rule('level = "x"\nthreshold = 0\nmax_age = "y"'))
    assert len(found) == 3


def test_a_document_that_is_too_large_or_too_deep_is_refused() -> None:
    assert "at most" in violations("#" * (MAX_POLICY + 1))[0]
    assert violations(rule("signers = " + "[" * 5000 + "]" * 5000))
    nested = "{ not = " * 12 + f'{{ key = "{KEY}" }}' + " }" * 12
    assert any("nested deeper" in each for each in violations(rule(f"signers = [{{ all_of = [{nested}] }}]")))


def test_the_example_of_the_reference_is_a_policy() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "policy.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    policy = read(example)
    assert policy.rule_for(Place.parse("ghcr.io/acme/sentiment")).threshold == 2
    assert len(policy.revocations) == 1


def plain(value: Any) -> Any:
    """Return a document of TOML as JSON has it: moments are text."""
    if isinstance(value, dict):
        return {key: plain(child) for key, child in value.items()}
    if isinstance(value, list):
        return [plain(child) for child in value]
    return value.isoformat() if isinstance(value, datetime) else value


DOCUMENT = plain(tomllib.loads(FULL))


def toml(value: Any) -> str:
    """Return a value as TOML, inline; keys without a value are left out because TOML has no null."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(k)} = {toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(child) for child in value) + "]"
    return json.dumps(value)


def document(value: dict[str, Any]) -> str:
    return "".join(f"{json.dumps(key)} = {toml(child)}\n" for key, child in value.items())


def places(value: Any, at: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in entries:
        yield (*at, key)
        yield from places(child, (*at, key))


def changed(place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    whole = copy.deepcopy(DOCUMENT)
    parent: Any = whole
    for step in place[:-1]:
        parent = parent[step]
    parent[place[-1]] = value
    return whole


def ours(value: dict[str, Any]) -> bool:
    try:
        read(document(value))
    except PolicyInvalid:
        return False
    return True


def test_the_schema_is_one_of_draft_2020_12_and_takes_the_whole_document() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert list(VALIDATOR.iter_errors(DOCUMENT)) == []
    assert ours(DOCUMENT)


@pytest.mark.parametrize("place", list(places(DOCUMENT)), ids=lambda place: ".".join(map(str, place)))
@pytest.mark.parametrize("value", ["", "x y\n", 0, True, [], {"x": 1}], ids=repr)
def test_what_the_schema_refuses_is_refused(place: tuple[str | int, ...], value: Any) -> None:
    wrong = changed(place, value)
    if not VALIDATOR.is_valid(wrong):
        assert not ours(wrong)


def test_unknown_keys_are_refused_by_both_at_every_place() -> None:
    for place in [(), *places(DOCUMENT)]:
        wrong = changed(place, {**_at(place), "sombody": "x"}) if place else {**DOCUMENT, "sombody": "x"}
        if isinstance(_at(place), dict) and place not in {("signers",), ("rules", 1, "attestations", 1, "equals")}:
            assert not VALIDATOR.is_valid(wrong), place
            assert not ours(wrong), place


def _at(place: tuple[str | int, ...]) -> Any:
    value: Any = DOCUMENT
    for step in place:
        value = value[step]
    return value if isinstance(value, dict) else {}


@settings(max_examples=100)
@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_a_policy_or_refused(data: bytes) -> None:
    with contextlib.suppress(PolicyInvalid):
        parse_policy(data, "x")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.sampled_from([KEY, ISSUER, "scan", "*"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "identity", "issuer", "any_of", "all_of", "not", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.sampled_from(list(places(DOCUMENT))), VALUES)
def test_whatever_stands_anywhere_is_read_or_refused_in_words(place: tuple[str | int, ...], value: Any) -> None:
    text = document(changed(place, value))
    with contextlib.suppress(PolicyInvalid):
        read(text)
