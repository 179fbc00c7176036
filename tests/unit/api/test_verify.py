"""``verify`` says who vouches for a package or a folder and what was not proved; it trusts nobody on its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.install import install
from installml.api.keys import key_ring, keys_export, keys_generate
from installml.api.places import find
from installml.api.pull import pull
from installml.api.push import push
from installml.api.results import VerifyResult
from installml.api.session import Session
from installml.api.sign import sign
from installml.api.trust import trust_add
from installml.api.trusting import judge, model_signature, place_signature
from installml.api.verify import verify
from installml.errors import UsageError
from installml.reference import Reference
from installml.registry.errors import RegistryError
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Faults, Rule, Status
from installml.store.installed import Record
from installml.transfer import copy
from installml.trust.errors import EvidenceInvalid, Unsigned
from tests.unit.api.kit import Asked

pytestmark = pytest.mark.signatures

NOW = 1_790_000_000
FILES = {"weights.bin": bytes(range(256)) * 64, "notes.txt": b"nothing", "part/more.bin": b"more"}


@pytest.fixture
def clock() -> list[float]:
    return [float(NOW)]


@pytest.fixture
def session(open_session: Callable[..., Session], clock: list[float]) -> Session:
    made = open_session(clock=lambda: clock[0])
    keys_generate("ada", no_passphrase=True, session=made)
    return made


@pytest.fixture
def pushed(registry: RunningRegistry, write_model: Callable[..., Path], session: Session) -> str:
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    push(write_model(files=FILES), tag=reference, session=session)
    return reference


@pytest.fixture
def signed(pushed: str, session: Session) -> str:
    sign(pushed, expires="90d", session=session)
    return pushed


@pytest.fixture
def public(tmp_path: Path, session: Session) -> str:
    path = tmp_path / "ada.pub"
    path.write_text(keys_export("ada", session=session).text)
    return str(path)


def place(reference: str) -> str:
    return reference.rpartition(":")[0]


def test_a_package_is_trusted_by_the_key_that_somebody_names(
    signed: str, public: str, open_session: Callable[..., Session], clock: list[float], session: Session
) -> None:
    result = verify(signed, key=public, session=open_session("elsewhere", clock=lambda: clock[0]))
    assert (result.trusted, result.verdict) == (True, "trusted")
    assert result.signers == (f"key {key_ring(session).find('ada').public.fingerprint}",)


def test_the_evidence_says_who_when_for_what_and_until_when(signed: str, session: Session) -> None:
    told = [one for one in verify(signed, key="ada", session=session).signatures if one.form == "bundle"]
    [one] = told
    assert (one.key, one.counts, one.ref) == ("ada", True, signed)
    assert (one.made, one.proved, one.expires) == ("2026-09-21T14:13:20Z", False, "2026-12-20T14:13:20Z")


def test_another_key_than_the_named_one_is_not_trusted(signed: str, session: Session) -> None:
    keys_generate("eve", no_passphrase=True, session=session)
    result = verify(signed, key="eve", session=session)
    assert (result.trusted, result.reason) == (False, "signer-unknown")


def test_nobody_is_trusted_without_a_policy_and_the_hint_trusts_the_signer(signed: str, session: Session) -> None:
    result = verify(signed, session=session)
    assert (result.trusted, result.reason) == (False, "signer-unknown")
    fingerprint = key_ring(session).find("ada").public.fingerprint
    assert f"installml trust add {place(signed)} --key {fingerprint}" in result.hint


def test_the_policy_in_force_decides_when_nobody_is_named(signed: str, public: str, session: Session) -> None:
    trust_add(place(signed), key=public, session=session)
    assert verify(signed, session=session).trusted


def test_an_unsigned_package_is_not_trusted(pushed: str, session: Session) -> None:
    result = verify(pushed, key="ada", session=session)
    assert (result.trusted, result.reason, result.signatures) == (False, "unsigned", ())


@pytest.mark.parametrize("level", ["off", "warn"])
def test_a_policy_that_does_not_insist_makes_nothing_trusted(level: str, pushed: str, session: Session) -> None:
    session.trusted.root.mkdir(parents=True, exist_ok=True)
    session.trusted.policy_file.write_text(f'[[rules]]\nprefix = "*"\nlevel = "{level}"\n')
    assert not verify(pushed, session=session).trusted


def test_an_expired_signature_is_not_trusted_whatever_else_is_there(
    signed: str, session: Session, clock: list[float]
) -> None:
    """The signature over the files ends with the one over the manifest."""
    clock[0] += 91 * 86_400
    result = verify(signed, key="ada", session=session)
    assert (result.trusted, result.reason) == (False, "signature-expired")


def test_what_was_signed_under_another_name_is_not_trusted(
    signed: str, registry: RunningRegistry, session: Session
) -> None:
    """Somebody copies a package with all its signatures into another repository."""
    source, target = Reference.parse(signed), Reference.parse(f"{registry.address}/acme/other:1.0.0")
    here, there = session.remote(source), session.remote(target)
    root = here.resolve("1.0.0")
    copy(here, there, root, tags=["1.0.0"])
    for referrer in here.referrers(root):
        copy(here, there, referrer.bare(), tags=[str(referrer.digest)])
    result = verify(str(target), key="ada", session=session)
    assert len(result.signatures) == 2
    assert (result.trusted, result.reason) == (False, "subject-mismatch")


def test_signatures_that_cannot_be_listed_are_an_error_and_not_unsigned(
    tmp_path: Path, write_model: Callable[..., Path], session: Session
) -> None:
    with start(tmp_path / "broken", faults=Faults(Rule(Status(403), path="/referrers/"))) as broken:
        reference = f"{broken.address}/acme/sentiment:1.0.0"
        push(write_model(), tag=reference, session=session)
        with pytest.raises(RegistryError):
            verify(reference, key="ada", session=session)


def test_what_was_pulled_is_verified_without_a_network(
    signed: str, registry: RunningRegistry, public: str, open_session: Callable[..., Session], clock: list[float]
) -> None:
    elsewhere = open_session("elsewhere", clock=lambda: clock[0])
    trust_add(place(signed), key=public, session=elsewhere)
    pull(signed, session=elsewhere)
    offline = open_session("elsewhere", clock=lambda: clock[0], offline=True)
    with Asked(registry) as asked:
        result = verify(signed, session=offline)
    assert (result.trusted, result.place) == (True, "local store")
    assert asked.requests == []


def test_a_classic_signature_is_kept_too(
    pushed: str, public: str, session: Session, open_session: Callable[..., Session], clock: list[float]
) -> None:
    done = sign(pushed, cosign_classic="on", session=session)
    remote = session.remote(Reference.parse(pushed))
    for one in done.signatures:
        if one.over != "classic":
            remote.delete(remote.resolve(str(one.carrier)))
    elsewhere = open_session("elsewhere", clock=lambda: clock[0])
    pull(pushed, allow_unsigned=True, session=elsewhere)
    verify(pushed, key=public, session=elsewhere)
    result = verify(pushed, key=public, session=open_session("elsewhere", clock=lambda: clock[0], offline=True))
    assert (result.trusted, [one.form for one in result.signatures]) == (True, ["classic"])
    assert list(elsewhere.local(Reference.parse(pushed)).tags()) == ["1.0.0"]


def test_two_ways_to_name_a_signer_are_a_mistake(pushed: str, session: Session) -> None:
    with pytest.raises(UsageError):
        verify(pushed, key="ada", identity="ada@example.com", issuer="https://issuer.example", session=session)


# Folders


@pytest.fixture
def installed(signed: str, public: str, session: Session) -> Path:
    """Return the folder of an installed model with its signature in it."""
    return installation(signed, public, session)


def installation(reference: str, public: str, session: Session, **part: str) -> Path:
    trust_add(place(reference), key=public, session=session)
    folder = Path(install(reference, runtime=False, session=session, **part).path)  # type: ignore[arg-type]
    found = find(reference, session)
    data = model_signature(found, judge(found, session), session)
    assert data is not None
    place_signature(folder, data)
    return folder


def records(session: Session) -> list[Record]:
    return list(session.installed.records())


def test_an_installed_folder_is_verified_file_by_file(installed: Path, session: Session) -> None:
    result = verify(str(installed), session=session)
    assert (result.trusted, result.subset, result.differences) == (True, False, ())
    assert result.files == len([path for path in installed.rglob("*") if path.is_file()]) - 1
    assert result.digest == records(session)[0].descriptor.digest


def test_a_part_that_was_installed_is_a_subset_of_what_was_signed(signed: str, public: str, session: Session) -> None:
    folder = installation(signed, public, session, only="*.txt")
    result = verify(str(folder), session=session)
    assert (result.trusted, result.subset) == (True, True)


def change(path: Path, data: bytes | None) -> None:
    path.parent.chmod(0o755)
    path.unlink(missing_ok=True)
    if data is not None:
        path.write_bytes(data)


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("weights.bin", b"evil", "weights.bin was changed"),
        ("weights.bin", None, "weights.bin is missing"),
        ("sitecustomize.py", b"evil", "sitecustomize.py was not signed"),
    ],
    ids=["changed", "missing", "extra"],
)
def test_a_folder_that_is_not_what_was_signed_is_not_trusted(
    name: str, data: bytes | None, sentence: str, installed: Path, session: Session
) -> None:
    change(installed / name, data)
    result = verify(str(installed), session=session)
    assert (result.trusted, result.reason, result.signers) == (False, "files-differ", ())
    assert result.differences == (sentence,)
    assert "installml install " in result.hint


def test_a_link_out_of_the_folder_is_not_followed(installed: Path, session: Session, tmp_path: Path) -> None:
    (tmp_path / "same.txt").write_bytes(FILES["notes.txt"])
    change(installed / "notes.txt", None)
    (installed / "notes.txt").symlink_to(tmp_path / "same.txt")
    assert "notes.txt is a symbolic link" in verify(str(installed), session=session).differences


def test_the_signature_of_another_package_does_not_pass_in_its_place(
    installed: Path, registry: RunningRegistry, write_model: Callable[..., Path], public: str, session: Session
) -> None:
    """Somebody puts a whole other signed model, signature and all, where this one was."""
    reference = f"{registry.address}/acme/other:1.0.0"
    push(write_model("acme/other", files={"weights.bin": b"other"}), tag=reference, sign=True, session=session)
    other = installation(reference, public, session)
    installed.chmod(0o755)
    for path in installed.iterdir():
        path.chmod(0o755)
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in other.iterdir():
        if path.is_dir():
            shutil.copytree(path, installed / path.name)
        else:
            shutil.copy(path, installed / path.name)
    result = verify(str(installed), session=session)
    assert not result.trusted
    assert "model.sig is about other files than the package" in result.differences


def copied(folder: Path, target: Path) -> Path:
    return Path(shutil.copytree(folder, target))


def test_a_copy_anywhere_is_verified_with_the_signers_key(
    installed: Path, public: str, tmp_path: Path, open_session: Callable[..., Session], clock: list[float]
) -> None:
    folder = copied(installed, tmp_path / "copy")
    result = verify(str(folder), key=public, session=open_session("elsewhere", clock=lambda: clock[0]))
    assert result.trusted


def test_a_copy_goes_by_the_name_that_it_was_signed_for(
    installed: Path, signed: str, tmp_path: Path, session: Session
) -> None:
    folder = copied(installed, tmp_path / "copy")
    result: VerifyResult = verify(str(folder), session=session)
    assert result.trusted
    assert str(result.reference).startswith(place(signed))


def test_without_a_key_and_without_trust_a_copy_is_not_trusted_and_the_hint_says_what_to_give(
    installed: Path, tmp_path: Path, open_session: Callable[..., Session], clock: list[float]
) -> None:
    folder = copied(installed, tmp_path / "copy")
    result = verify(str(folder), session=open_session("elsewhere", clock=lambda: clock[0]))
    assert not result.trusted
    assert f"installml verify {folder} --key FILE" in result.hint


def test_what_the_signature_leaves_out_is_named(installed: Path, session: Session) -> None:
    """Files of git at the top are left out by every signer of this form; anything may stand there."""
    change(installed / ".gitattributes", b"anything")
    result = verify(str(installed), session=session)
    assert result.trusted
    assert "1 files are left out of the signature: .gitattributes" in [step.sentence for step in result.steps]


def test_another_key_does_not_verify_a_folder(installed: Path, session: Session) -> None:
    keys_generate("eve", no_passphrase=True, session=session)
    assert not verify(str(installed), key="eve", session=session).trusted


def test_a_folder_without_a_signature_is_unsigned(tmp_path: Path, session: Session) -> None:
    with pytest.raises(Unsigned, match=r"has no model\.sig"):
        verify(str(tmp_path), session=session)


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b'{"a": 1, "a": 2}', b"[" * 100_000])
def test_a_signature_that_is_none_is_told_as_such(data: bytes, tmp_path: Path, session: Session) -> None:
    (tmp_path / "model.sig").write_bytes(data)
    with pytest.raises(EvidenceInvalid):
        verify(str(tmp_path), session=session)
