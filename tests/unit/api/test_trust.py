"""Trust is given, listed, taken and moved; and a package's verdict is explained with real signatures in a registry."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.keys import keys_import
from installml.api.places import find
from installml.api.push import push
from installml.api.session import Session
from installml.api.trust import trust_add, trust_list, trust_policy, trust_remove, trust_rotate, trust_test
from installml.errors import InstallMLError, StoreUnusable, UsageError
from installml.reference import Reference
from installml.registry_server import RunningRegistry
from installml.signing.attach import attach_bundle
from installml.signing.keyfile import PrivateKey
from installml.trust.bundle import Bundle, KeyHint
from installml.trust.claims import annotations_of
from installml.trust.dsse import Envelope
from installml.trust.errors import PolicyInvalid, SignerChanged, SignerUnknown
from installml.trust.evidence import Claims, KeySigner
from installml.trust.pins import Pin
from installml.trust.policy import Place
from installml.trust.rotation import Rotation, rotation_bytes
from installml.trust.statement import COSIGN_SIGN, SCAN, Statement, Subject

pytestmark = pytest.mark.signatures

ISSUER = "https://accounts.example.com"
PRINT = "sha256:" + "a" * 64
ALICE, MALLORY = PrivateKey.generate(), PrivateKey.generate()


def signer(key: PrivateKey) -> KeySigner:
    return KeySigner(key.public_key.fingerprint)


@pytest.fixture
def pushed(registry: RunningRegistry, model: Path, session: Session) -> str:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(model, tag=reference, session=session)
    return reference


@pytest.fixture
def sign(pushed: str, session: Session) -> Callable[..., None]:
    def run(key: PrivateKey = ALICE, ref: str = pushed, kind: str = COSIGN_SIGN, created: int = 1_700_000_000) -> None:
        found = find(pushed, session)
        claims = annotations_of(Claims(ref, created=created))
        predicate = {"findings": []} if kind == SCAN else {}
        statement = Statement((Subject("", (found.descriptor.digest,), claims),), kind, predicate)
        bundle = Bundle(Envelope.signed(statement.to_bytes(), key.sign), KeyHint(key.public_key.hint))
        attach_bundle(session.remote(found.reference), found.descriptor, bundle, key.public_key)

    return run


@pytest.fixture
def public(tmp_path: Path) -> str:
    path = tmp_path / "alice.pub"
    path.write_text(ALICE.public_key.pem)
    return str(path)


def rules(session: Session) -> list[dict[str, object]]:
    return tomllib.loads(session.trusted.policy_file.read_text()).get("rules", [])


def test_a_key_file_is_trusted_by_its_fingerprint_and_its_bytes_are_kept(session: Session, public: str) -> None:
    result = trust_add("r.example/acme", key=public, session=session)
    assert (result.change, result.signer) == ("added", f"key {ALICE.public_key.fingerprint}")
    assert rules(session) == [{"prefix": "r.example/acme", "signers": [{"key": ALICE.public_key.fingerprint}]}]
    assert session.trusted.keys() == (ALICE.public_key,)


def test_adding_twice_changes_nothing(session: Session, public: str) -> None:
    trust_add("r.example/acme", key=public, session=session)
    text = session.trusted.policy_file.read_text()
    result = trust_add("r.example/acme", key=public, session=session)
    assert (result.change, result.file, session.trusted.policy_file.read_text()) == ("unchanged", "", text)


def test_a_key_of_this_machine_is_trusted_by_its_name(session: Session, public: str) -> None:
    keys_import(public, "alice", session=session)
    assert trust_add("r.example/acme", key="alice", session=session).signer == f"key {ALICE.public_key.fingerprint}"


def test_a_bare_prefix_is_in_the_default_registry(open_session: Callable[..., Session]) -> None:
    session = open_session(default_registry="r.example/team")
    assert trust_add("acme", key=PRINT, session=session).prefix == "r.example/team/acme"


@pytest.mark.parametrize(
    "who",
    [
        {},
        {"key": PRINT, "identity": "a", "issuer": ISSUER},
        {"key": PRINT, "issuer": ISSUER},
        {"identity": "a@b.example"},
        {"issuer": ISSUER},
        {"identity_glob": "**", "issuer": ISSUER},
        {"identity": "a\n[[rules]]", "issuer": ISSUER},
        {"identity": "a@b.example", "issuer": "not a url"},
        {"key": "sha256:abc"},
    ],
)
def test_who_is_not_named_clearly_is_not_trusted(session: Session, who: dict[str, str]) -> None:
    with pytest.raises(InstallMLError) as raised:
        trust_add("r.example/acme", session=session, **who)
    assert raised.value.exit_code in (1, 2)
    assert not session.trusted.policy_file.exists()


def test_a_private_key_is_not_taken_for_a_public_one(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "key.pem"
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(UsageError, match="is a private key"):
        trust_add("r.example/acme", key=str(path), session=session)


@pytest.mark.parametrize("prefix", ["acme", "r.example/acme:1.0", f"r.example/acme@{PRINT}", "r.example/*", ""])
def test_what_is_no_prefix_is_refused(session: Session, prefix: str) -> None:
    with pytest.raises(UsageError):
        trust_add(prefix, key=PRINT, session=session)


def test_a_pin_to_somebody_else_is_told_when_a_signer_is_added(session: Session) -> None:
    session.trusted.pin(Place.parse("r.example/acme/x"), Pin((signer(MALLORY),)))
    [_, *notices] = trust_add("r.example/acme", key=PRINT, session=session).notices[::-1]
    assert any("installml trust rotate r.example/acme/x" in notice for notice in notices)


def test_rules_and_pins_are_listed_by_prefix(session: Session) -> None:
    trust_add("r.example/acme", key=PRINT, session=session)
    trust_add("s.example", identity_glob="*@acme.example", issuer=ISSUER, session=session)
    session.trusted.pin(Place.parse("r.example/acme/x"), Pin((signer(ALICE),), 1_700_000_000))
    whole, part = trust_list(session=session), trust_list("r.example/acme/x", session=session)
    assert [rule.prefix for rule in whole.rules] == ["r.example/acme", "s.example"]
    assert [rule.prefix for rule in part.rules] == ["r.example/acme"]
    assert [(pin.repository, pin.pinned, pin.how) for pin in part.pins] == [
        ("r.example/acme/x", "2023-11-14T22:13:20Z", "asked")
    ]


def test_a_signer_is_removed_and_the_others_stay(session: Session) -> None:
    trust_add("r.example/acme", key=PRINT, session=session)
    trust_add("r.example/acme", identity="a@b.example", issuer=ISSUER, session=session)
    trust_remove("r.example/acme", key=PRINT, session=session)
    assert [rule.signers for rule in trust_list(session=session).rules] == [(f"a@b.example ({ISSUER})",)]


def test_a_pin_is_removed_and_what_was_seen_stays(session: Session) -> None:
    place = Place.parse("r.example/acme/x")
    session.trusted.pin(place, Pin((signer(ALICE),)))
    (session.trusted.root / "seen" / "r.example" / "acme" / "x" / "@signed").touch()
    result = trust_remove("r.example/acme/x", session=session)
    memory = session.trusted.memory(Reference.parse("r.example/acme/x:1"))
    assert (result.repositories, result.file, memory.pin, memory.was_signed) == (("r.example/acme/x",), "", None, True)


def test_who_is_not_trusted_cannot_be_removed(session: Session) -> None:
    with pytest.raises(UsageError, match=r"has no rule for r\.example/acme"):
        trust_remove("r.example/acme", session=session)


def test_rotating_replaces_the_named_and_the_pinned_signer(session: Session, public: str) -> None:
    place = Place.parse("r.example/acme/x")
    trust_add("r.example/acme/x", key=PRINT, session=session)
    session.trusted.pin(place, Pin((KeySigner(PRINT),)))
    trust_rotate("r.example/acme/x", key=public, session=session)
    assert session.trusted.memory(Reference.parse("r.example/acme/x:1")).pinned == {signer(ALICE)}
    assert [rule.signers for rule in trust_list(session=session).rules] == [(f"key {ALICE.public_key.fingerprint}",)]


def test_a_repository_that_was_unknown_is_pinned_by_rotating(session: Session) -> None:
    trust_rotate("r.example/acme/x", key=PRINT, session=session)
    assert session.trusted.memory(Reference.parse("r.example/acme/x:1")).pinned == {KeySigner(PRINT)}
    with pytest.raises(UsageError, match="nobody is pinned or named"):
        trust_rotate("s.example", key=PRINT, session=session)


def test_rotating_to_nobody_forgets(session: Session) -> None:
    session.trusted.pin(Place.parse("r.example/acme/x"), Pin((signer(ALICE),)))
    result = trust_rotate("r.example/acme", session=session)
    assert (result.change, result.repositories) == ("forgotten", ("r.example/acme/x",))


def test_a_statement_of_the_old_key_hands_over_and_one_of_a_strangers_does_not(
    session: Session, tmp_path: Path
) -> None:
    session.trusted.pin(Place.parse("r.example/acme/x"), Pin((signer(ALICE),)))
    new, path = PrivateKey.generate(), tmp_path / "rotation.json"
    path.write_bytes(rotation_bytes(Rotation(MALLORY.public_key, new.public_key, 1), MALLORY.sign, new.sign))
    with pytest.raises(SignerUnknown, match=r"hands over from key sha256:[0-9a-f]+, which is not trusted"):
        trust_rotate("r.example/acme/x", statement=str(path), session=session)
    path.write_bytes(rotation_bytes(Rotation(ALICE.public_key, new.public_key, 1), ALICE.sign, new.sign))
    trust_rotate("r.example/acme/x", statement=str(path), session=session)
    assert session.trusted.memory(Reference.parse("r.example/acme/x:1")).pinned == {signer(new)}


def test_a_given_policy_is_asked_first_and_told_about(open_session: Callable[..., Session], tmp_path: Path) -> None:
    given = tmp_path / "given.toml"
    given.write_text('[[rules]]\nprefix = "r.example"\nlevel = "warn"\n')
    session = replace(open_session(), policy_file=given)
    result = trust_add("r.example/acme", key=PRINT, session=session)
    assert any("your own policy is not asked there" in notice for notice in result.notices)
    shown = trust_policy("r.example/acme/x", session=session)
    assert shown.files == (str(given), str(session.trusted.policy_file))
    assert shown.decides is not None
    assert (shown.decides.prefix, shown.decides.level) == ("r.example", "warn")


def test_a_given_policy_that_is_missing_or_wrong_is_an_error(session: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        trust_policy(session=replace(session, policy_file=tmp_path / "none.toml"))
    (tmp_path / "wrong.toml").write_text("rule = 1")
    with pytest.raises(PolicyInvalid, match="did you mean 'rules'"):
        trust_policy(session=replace(session, policy_file=tmp_path / "wrong.toml"))


def test_an_unsigned_package_is_explained(pushed: str, session: Session) -> None:
    result = trust_test(pushed, session=session)
    assert (result.outcome, result.passes, result.reason) == ("refused", False, "unsigned")
    assert [step.rule for step in result.steps] == ["digest", "policy", "signature", "verdict"]


def test_a_stranger_is_refused_until_the_line_of_the_hint_is_typed(
    pushed: str, session: Session, sign: Callable[..., None]
) -> None:
    sign()
    before = trust_test(pushed, session=session)
    assert before.reason == "signer-unknown"
    _, _, line = before.hint.partition("installml trust add ")
    prefix, flag, value = line.split()
    assert flag == "--key"
    trust_add(prefix, key=value, session=session)
    after = trust_test(pushed, session=session)
    assert (after.outcome, after.signers) == ("trusted", (f"key {ALICE.public_key.fingerprint}",))


def test_somebody_at_a_terminal_would_be_asked(pushed: str, session: Session, sign: Callable[..., None]) -> None:
    sign()
    assert trust_test(pushed, interactive=True, session=session).outcome == "ask"


def test_a_scan_by_a_trusted_key_is_no_signature(
    pushed: str, session: Session, sign: Callable[..., None], public: str
) -> None:
    trust_add(pushed.rpartition(":")[0], key=public, session=session)
    sign(kind=SCAN)
    result = trust_test(pushed, session=session)
    assert (result.reason, result.passes) == ("unsigned", False)


def test_a_signature_for_another_tag_is_a_substitution(
    pushed: str, session: Session, sign: Callable[..., None], public: str
) -> None:
    trust_add(pushed.rpartition(":")[0], key=public, session=session)
    other = f"{pushed.rpartition(':')[0]}:0.9.0"
    sign(ref=other)
    result = trust_test(pushed, session=session)
    assert (result.reason, result.hint.endswith(f"installml install {other}")) == ("subject-mismatch", True)


def test_another_signer_than_the_pinned_one_is_refused_with_the_line_that_replaces_them(
    pushed: str, session: Session, sign: Callable[..., None]
) -> None:
    session.trusted.pin(Place.of(Reference.parse(pushed)), Pin((signer(ALICE),)))
    sign(MALLORY)
    result = trust_test(pushed, session=session)
    assert result.reason == "signer-changed"
    assert f"trust rotate {pushed.rpartition(':')[0]} --key {MALLORY.public_key.fingerprint}" in result.hint


def test_testing_writes_nothing_down(pushed: str, session: Session, sign: Callable[..., None], public: str) -> None:
    trust_add(pushed.rpartition(":")[0], key=public, session=session)
    sign()
    assert trust_test(pushed, session=session).passes
    assert not session.trusted.memory(Reference.parse(pushed)).was_signed


def test_a_damaged_pin_is_an_error_of_the_test_too(pushed: str, session: Session) -> None:
    place = Place.of(Reference.parse(pushed))
    session.trusted.pin(place, Pin((signer(ALICE),)))
    [path] = (session.trusted.root / "seen").rglob("@pin.json")
    path.write_bytes(b"")
    with pytest.raises(StoreUnusable):
        trust_test(pushed, session=session)
    with pytest.raises(StoreUnusable):
        trust_list(session=session)


def test_off_asks_the_registry_for_no_signature(pushed: str, session: Session, sign: Callable[..., None]) -> None:
    sign()
    session.trusted.change_policy(lambda _: '[[rules]]\nprefix = "*"\nlevel = "off"\n')
    result = trust_test(pushed, session=session)
    assert (result.outcome, [step.rule for step in result.steps]) == ("off", ["policy"])


def test_two_answers_at_once_are_not_both_written(session: Session) -> None:
    place = Place.parse("r.example/acme/x")
    session.trusted.pin(place, Pin((signer(ALICE),)))
    with pytest.raises(SignerChanged, match="since a moment ago"):
        session.trusted.pin(place, Pin((signer(MALLORY),)))


@pytest.mark.parametrize("name", ["nowhere/acme.pub", "acme.pub"])
def test_a_key_file_that_is_not_there_is_told_as_a_file(name: str, session: Session, tmp_path: Path) -> None:
    with pytest.raises(InstallMLError) as caught:
        trust_add("registry.example.com/acme", key=str(tmp_path / name), session=session)
    assert name in caught.value.message
    assert "name" not in caught.value.message.replace(name, "").replace(str(tmp_path), "")
