"""What this machine trusts and remembers: whole or absent, and an error where it is damaged."""

from __future__ import annotations

import multiprocessing
import os
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from installml.digest import Digest
from installml.errors import StoreError, StoreUnusable
from installml.reference import Reference
from installml.store.trusted import TrustFolder
from installml.trust.decide import decide
from installml.trust.errors import PolicyInvalid, SignerChanged
from installml.trust.evidence import Claims, Evidence, Form, IdentitySigner, KeySigner, Signed
from installml.trust.judging import SIGNATURE_TYPES
from installml.trust.keys import PublicKey
from installml.trust.patterns import KeyIs
from installml.trust.pins import Mark, Memory, Pin
from installml.trust.policy import DEFAULT_POLICY, Place
from installml.trust.policy_edit import add_signer
from installml.trust.verdict import Request, Verdict

REF = Reference.parse("registry.example.com:5000/acme/sentiment:1.4.0")
PLACE = Place.of(REF)
OLD, NEW = Digest.of(b"old"), Digest.of(b"new")
ALICE = KeySigner(str(Digest.of(b"alice")))
CI = IdentitySigner("ci@acme.example", "https://issuer.example")
FORK = multiprocessing.get_context("fork")


@pytest.fixture
def folder(tmp_path: Path) -> TrustFolder:
    return TrustFolder(tmp_path / "trust")


def accepted(digest: Digest, created: int, reference: Reference = REF) -> Verdict:
    """Return a person's yes to Alice's signature."""
    claims = Claims(str(reference), created=created)
    signed = Signed(ALICE, Form.BUNDLE, SIGNATURE_TYPES[Form.BUNDLE], (digest,), claims)
    request = Request(reference, digest, True, frozenset({ALICE}))
    return decide(Evidence(digest, (signed,)), request, DEFAULT_POLICY, Memory(), 1000)


def pin_file(folder: TrustFolder) -> Path:
    return folder.root / "seen" / "registry.example.com_5000" / "acme" / "sentiment" / "@pin.json"


def test_a_new_machine_knows_nothing_and_writes_nothing(folder: TrustFolder) -> None:
    assert (folder.policy(), folder.memory(REF), folder.keys(), list(folder.pins())) == (
        DEFAULT_POLICY,
        Memory(),
        (),
        [],
    )
    assert not folder.root.exists()


def test_what_a_verdict_says_is_remembered(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    assert folder.memory(REF) == Memory(Pin((ALICE,), 1000), Mark(900, NEW), signed_before=True)


def test_a_mark_belongs_to_its_tag_and_a_pin_to_the_repository(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    other = folder.memory(REF.with_tag("2.0.0"))
    assert (other.pin, other.mark, other.signed_before) == (Pin((ALICE,), 1000), None, True)


def test_a_neighbour_is_not_the_repository(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    for name in ("acme/sentiment-evil", "acme/sentiment/x", "acme"):
        assert folder.memory(Reference.parse(f"registry.example.com:5000/{name}:1.4.0")) == Memory()


def test_all_names_of_a_registry_are_one(folder: TrustFolder) -> None:
    folder.pin(Place.of(Reference.parse("index.docker.io/acme/x")), Pin((CI,)))
    assert folder.memory(Reference.parse("docker.io/acme/x:1")).pinned == {CI}


def test_what_was_not_vouched_for_leaves_no_trace(folder: TrustFolder) -> None:
    verdict = decide(Evidence(NEW), Request(REF, NEW, allow_unsigned=True), DEFAULT_POLICY, Memory(), 1000)
    folder.remember(verdict)
    assert not folder.root.exists()


def test_a_mark_never_goes_down(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    folder.remember(accepted(OLD, 800))
    assert folder.memory(REF).mark == Mark(900, NEW)


def test_what_another_user_has_written_down_is_not_opened_for_writing(
    folder: TrustFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.remember(accepted(NEW, 900))
    open_ = os.open

    def as_a_stranger(path: Path, flags: int, mode: int = 0o777) -> int:
        """Open as whoever owns none of the files would, which root cannot try."""
        if Path(path).is_file() and flags & (os.O_WRONLY | os.O_RDWR) and not flags & os.O_EXCL:
            raise PermissionError(13, "Permission denied", str(path))
        return open_(path, flags, mode)

    monkeypatch.setattr(os, "open", as_a_stranger)
    folder.remember(accepted(NEW, 900))
    assert folder.memory(REF).mark == Mark(900, NEW)


def test_only_the_highest_mark_is_kept(folder: TrustFolder) -> None:
    for created in (700, 800, 900):
        folder.remember(accepted(NEW, created))
    assert len(list(pin_file(folder).parent.glob("@tags/1.4.0/*"))) == 1


def test_a_pin_is_not_replaced_by_another(folder: TrustFolder) -> None:
    folder.pin(PLACE, Pin((ALICE,)))
    with pytest.raises(SignerChanged, match="since a moment ago"):
        folder.pin(PLACE, Pin((CI,)))
    assert folder.memory(REF).pinned == {ALICE}


def test_the_same_pin_twice_is_fine(folder: TrustFolder) -> None:
    folder.pin(PLACE, Pin((ALICE,), 1))
    folder.pin(PLACE, Pin((ALICE,), 2))
    assert folder.memory(REF).pin == Pin((ALICE,), 1)


def test_rotating_replaces_the_pin_and_keeps_what_was_seen(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    folder.rotate(PLACE, Pin((CI,), 1200, "rotated"))
    assert folder.memory(REF) == Memory(Pin((CI,), 1200, "rotated"), Mark(900, NEW), signed_before=True)


def test_forgetting_a_prefix_forgets_what_is_inside_it_and_nothing_beside_it(folder: TrustFolder) -> None:
    refs = [Reference.parse(f"r.example/{name}:1") for name in ("acme/x", "acme/x/y", "acme-evil/x")]
    for reference in refs:
        folder.remember(accepted(NEW, 900, reference))
    gone = folder.forget(Place.parse("r.example/acme"))
    assert [str(place) for place in gone] == ["r.example/acme/x", "r.example/acme/x/y"]
    assert [folder.memory(reference) == Memory() for reference in refs] == [True, True, False]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"null",
        b'{"schemaVersion":1,"signers":[]}',
        b'{"schemaVersion":1,"signers":[{"key":"x"}]}',
        b'{"schemaVersion":1,"signers":[{"identity":"x"}]}',
        b'{"schemaVersion":1,"signers":[{"key":"sha256:' + b"0" * 64 + b'"}],"signers":[]}',
        b'{"schemaVersion":2,"signers":[{"key":"sha256:' + b"0" * 64 + b'"}]}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_pin_is_an_error_and_never_no_pin(folder: TrustFolder, content: bytes) -> None:
    folder.pin(PLACE, Pin((ALICE,)))
    pin_file(folder).write_bytes(content)
    with pytest.raises(StoreUnusable, match="is damaged") as raised:
        folder.memory(REF)
    assert "installml trust rotate" in raised.value.hint


def test_a_pin_that_is_a_link_to_nothing_or_a_folder_is_an_error(folder: TrustFolder) -> None:
    path = pin_file(folder)
    path.parent.mkdir(parents=True)
    path.symlink_to("nowhere")
    with pytest.raises(StoreUnusable):
        folder.memory(REF)
    path.unlink()
    path.mkdir()
    with pytest.raises(StoreUnusable):
        folder.memory(REF)


def test_a_file_in_the_place_of_a_folder_is_an_error(folder: TrustFolder) -> None:
    folder.root.mkdir()
    (folder.root / "seen").write_text("")
    with pytest.raises(StoreError):
        folder.memory(REF)


def test_a_damaged_mark_is_an_error(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    (pin_file(folder).parent / "@tags" / "1.4.0" / "000000000999.sha256-abc").touch()
    with pytest.raises(StoreUnusable, match="its name is no mark"):
        folder.memory(REF)


def test_forgetting_is_the_way_out_of_damage(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    pin_file(folder).write_bytes(b"")
    (pin_file(folder).parent / "@tags" / "1.4.0" / "x").touch()
    assert folder.forget(PLACE) == (PLACE,)
    assert folder.memory(REF) == Memory()


def test_a_damaged_policy_is_an_error_and_never_the_default(folder: TrustFolder) -> None:
    folder.root.mkdir()
    folder.policy_file.write_text("[[rule]]")
    with pytest.raises(PolicyInvalid, match="did you mean 'rules'"):
        folder.policy()
    with pytest.raises(PolicyInvalid):
        folder.change_policy(lambda text: add_signer(text, "x", PLACE, KeyIs(ALICE.fingerprint)))
    assert folder.policy_file.read_text() == "[[rule]]"


def test_a_key_is_kept_under_its_own_name(folder: TrustFolder) -> None:
    key = PublicKey.of_key(ec.generate_private_key(ec.SECP256R1()).public_key())
    folder.add_key(key)
    assert folder.keys() == (key,)
    (path,) = (folder.root / "known").iterdir()
    path.rename(path.with_name("0" * 64 + ".pem"))
    with pytest.raises(StoreUnusable, match=f"it holds the key {key.fingerprint}"):
        folder.keys()


def _pin_in_process(root: Path, name: str, barrier: object, results: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    try:
        TrustFolder(root).pin(PLACE, Pin((KeySigner(str(Digest.of(name.encode()))),)))
    except SignerChanged:
        results.put((name, "refused"))  # type: ignore[attr-defined]
    else:
        results.put((name, "pinned"))  # type: ignore[attr-defined]


def test_of_processes_that_pin_at_once_one_does_and_the_others_are_refused(folder: TrustFolder) -> None:
    names = [f"signer {number}" for number in range(6)]
    barrier, results = FORK.Barrier(len(names)), FORK.SimpleQueue()
    children = [FORK.Process(target=_pin_in_process, args=(folder.root, name, barrier, results)) for name in names]
    for child in children:
        child.start()
    for child in children:
        child.join()
    told = dict(results.get() for _ in names)
    winners = [name for name, outcome in told.items() if outcome == "pinned"]
    assert len(winners) == 1
    assert folder.memory(REF).pinned == {KeySigner(str(Digest.of(winners[0].encode())))}


def _add_in_process(root: Path, number: int, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    folder = TrustFolder(root)
    pattern = KeyIs(str(Digest.of(str(number).encode())))
    folder.change_policy(lambda text: add_signer(text, "trust.toml", PLACE, pattern))
    folder.remember(accepted(Digest.of(b"x"), 100 + number))


def test_what_processes_add_at_once_is_all_there(folder: TrustFolder) -> None:
    barrier = FORK.Barrier(5)
    children = [FORK.Process(target=_add_in_process, args=(folder.root, number, barrier)) for number in range(5)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert len(folder.policy().rule_for(PLACE).signers) == 5
    assert folder.memory(REF).mark == Mark(104, Digest.of(b"x"))


def test_an_unreadable_folder_is_an_error(folder: TrustFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.remember(accepted(NEW, 900))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)  # root reads everything, and tests may run as root
    with pytest.raises(StoreUnusable, match="Permission denied"):
        folder.memory(REF)


def test_a_reference_by_digest_has_no_mark(folder: TrustFolder) -> None:
    folder.remember(accepted(NEW, 900))
    assert folder.memory(replace(REF, tag="", digest=NEW)).mark is None
