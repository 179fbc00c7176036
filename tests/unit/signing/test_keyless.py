"""Bundles with certificates: what one proves, and that nothing which is wrong with it passes. The simulator signs."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installml.digest import Digest
from installml.errors import InstallMLError
from installml.signing.errors import IdentityMissing, SigningFailed, TrustConfigInvalid
from installml.signing.keyless import KeylessSigner, open_verifier, read_token
from installml.signing.proof import Certified, Proofs
from installml.signing.secret import Secret
from installml.testing.sigstore import (
    IDENTITY,
    ISSUER_URL,
    Flaw,
    SimulatedSigstore,
    signing_config,
    trust_config,
)
from installml.trust.bundle import parse_bundle
from installml.trust.errors import EvidenceInvalid, SignatureInvalid
from installml.trust.evidence import IdentitySigner, Signed, Unproved, UnprovedKind
from installml.trust.statement import COSIGN_SIGN, Statement, Subject

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
PACKAGE = Digest.of(b"the package")
STATEMENT = Statement((Subject("", (PACKAGE,)),), COSIGN_SIGN).to_bytes()
WORKFLOW = "https://github.com/acme/models/.github/workflows/release.yml@refs/tags/v1"
PUBLIC = Path(__file__).with_name("vectors") / "public-good.sigstore.json"
BY_TIMESTAMP = {Flaw.OTHER_TIME, Flaw.TIME_OF_ANOTHER}


@pytest.fixture(scope="module")
def instances() -> dict[int, SimulatedSigstore]:
    return {rekor: SimulatedSigstore(NOW, rekor=rekor) for rekor in (1, 2)}


@pytest.fixture(params=[1, 2], ids=["rekor 1", "rekor 2"])
def instance(request: pytest.FixtureRequest, instances: dict[int, SimulatedSigstore]) -> SimulatedSigstore:
    return instances[request.param]


@pytest.fixture
def checked(tmp_path: Path) -> Callable[..., Certified]:
    """Check a bundle under a trusted root."""

    def check(root: bytes, bundle: bytes) -> Certified:
        path = tmp_path / "trusted_root.json"
        path.write_bytes(root)
        return open_verifier(path).verify(bundle, "the bundle")

    return check


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def test_a_bundle_tells_who_signed_when_and_in_which_log(
    instance: SimulatedSigstore, checked: Callable[..., Certified], no_network: None
) -> None:
    found = checked(instance.trusted_root(), instance.sign(STATEMENT))
    assert found == Certified(
        IdentitySigner(IDENTITY, ISSUER_URL), int(NOW.timestamp()), "https://rekor.sigstore.test 2"
    )


@pytest.mark.parametrize("index", range(5))
def test_a_bundle_may_be_anywhere_in_the_log(
    index: int, instance: SimulatedSigstore, checked: Callable[..., Certified]
) -> None:
    found = checked(instance.trusted_root(), instance.sign(STATEMENT, index=index))
    assert found.log == f"https://rekor.sigstore.test {index}"


def test_a_first_entry_whose_number_is_left_out_as_go_does_is_read(
    instance: SimulatedSigstore, checked: Callable[..., Certified]
) -> None:
    document = json.loads(instance.sign(STATEMENT, index=0))
    [entry] = document["verificationMaterial"]["tlogEntries"]
    assert (entry.pop("logIndex"), entry["inclusionProof"].pop("logIndex")) == ("0", "0")
    found = checked(instance.trusted_root(), json.dumps(document).encode())
    assert found.signer == IdentitySigner(IDENTITY, ISSUER_URL)


def test_a_workflow_signs_as_the_uri_that_it_is(instance: SimulatedSigstore, checked: Callable[..., Certified]) -> None:
    issuer = "https://token.actions.githubusercontent.com"
    found = checked(instance.trusted_root(), instance.sign(STATEMENT, WORKFLOW, issuer))
    assert found.signer == IdentitySigner(WORKFLOW, issuer)


@pytest.mark.parametrize(
    ("rekor", "flaw"), [(r, f) for r in (1, 2) for f in Flaw if r == 2 or f not in BY_TIMESTAMP], ids=str
)
def test_a_bundle_with_one_thing_wrong_proves_nothing(
    rekor: int, flaw: Flaw, instances: dict[int, SimulatedSigstore], checked: Callable[..., Certified]
) -> None:
    instance = instances[rekor]
    with pytest.raises((SignatureInvalid, EvidenceInvalid)):
        checked(instance.trusted_root(), instance.sign(STATEMENT, flaw=flaw))


def test_another_instance_is_not_trusted(instance: SimulatedSigstore, checked: Callable[..., Certified]) -> None:
    with pytest.raises(SignatureInvalid):
        checked(SimulatedSigstore(NOW, rekor=instance.rekor).trusted_root(), instance.sign(STATEMENT))


def test_what_proves_one_statement_does_not_prove_another(
    instance: SimulatedSigstore, checked: Callable[..., Certified]
) -> None:
    other = Statement((Subject("", (Digest.of(b"another package"),)),), COSIGN_SIGN).to_bytes()
    first, second = (json.loads(instance.sign(each)) for each in (STATEMENT, other))
    with pytest.raises(SignatureInvalid):
        checked(instance.trusted_root(), json.dumps({**first, "dsseEnvelope": second["dsseEnvelope"]}).encode())


@pytest.mark.parametrize(
    ("retired", "sentence"),
    [
        ("log_until", "no log that was trusted at 2025-06-01"),
        ("certificate_log_until", "no log of certificates that was trusted at 2025-06-01"),
        ("authority_until", "no authority that was trusted at 2025-06-01"),
    ],
)
def test_whoever_was_retired_before_proves_nothing(
    retired: str, sentence: str, instance: SimulatedSigstore, checked: Callable[..., Certified]
) -> None:
    root = instance.trusted_root(**{retired: NOW - timedelta(hours=1)})
    with pytest.raises(SignatureInvalid, match=sentence):
        checked(root, instance.sign(STATEMENT))


def test_a_signature_of_before_its_log_was_retired_still_counts(
    instance: SimulatedSigstore, checked: Callable[..., Certified]
) -> None:
    later = NOW + timedelta(hours=1)
    root = instance.trusted_root(log_until=later, certificate_log_until=later, authority_until=later)
    assert checked(root, instance.sign(STATEMENT)).signer == IdentitySigner(IDENTITY, ISSUER_URL)


def test_the_public_instance_is_trusted_by_the_roots_that_came_with_sigstore(no_network: None) -> None:
    found = open_verifier().verify(PUBLIC.read_bytes(), "the bundle")
    assert found.signer == IdentitySigner("cody@soyland.com", "https://github.com/login/oauth")
    assert found.signed_at == int(datetime(2025, 2, 28, 19, 18, 11, tzinfo=UTC).timestamp())


def test_the_public_roots_do_not_trust_somebody_elses_instance(instance: SimulatedSigstore, no_network: None) -> None:
    with pytest.raises(SignatureInvalid):
        open_verifier().verify(instance.sign(STATEMENT), "the bundle")


def test_a_trust_config_serves_as_well_as_the_root_in_it(
    instance: SimulatedSigstore, checked: Callable[..., Certified]
) -> None:
    config = trust_config(json.loads(instance.trusted_root()), {})
    assert checked(json.dumps(config).encode(), instance.sign(STATEMENT)).signer == IdentitySigner(IDENTITY, ISSUER_URL)


def test_a_certificate_in_no_log_is_not_looked_up_anywhere(no_network: None) -> None:
    bundle = SimulatedSigstore(NOW, rekor=1).sign(STATEMENT, flaw=Flaw.NOT_LOGGED)
    with pytest.raises(SignatureInvalid, match="in no log and has no timestamp"):
        open_verifier().verify(bundle, "the bundle")


@pytest.mark.parametrize("flaw", [None, Flaw.OTHER_AUTHORITY])
def test_a_proof_carries_what_the_certificate_says(
    flaw: Flaw | None, instance: SimulatedSigstore, tmp_path: Path
) -> None:
    root = tmp_path / "root.json"
    root.write_bytes(instance.trusted_root())
    proofs = Proofs(PACKAGE, certificates=open_verifier(root))
    found = proofs.bundle(instance.sign(STATEMENT, flaw=flaw), Digest.of(b"the referrer"), {})
    if flaw is None:
        assert isinstance(found, Signed)
        assert (found.signer, found.subjects) == (IdentitySigner(IDENTITY, ISSUER_URL), (PACKAGE,))
        assert found.signed_at == int(NOW.timestamp())
    else:
        assert isinstance(found, Unproved)
        assert found.kind is UnprovedKind.INVALID


@pytest.fixture(scope="module")
def signed(instances: dict[int, SimulatedSigstore]) -> dict[int, bytes]:
    return {rekor: instance.sign(STATEMENT) for rekor, instance in instances.items()}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rekor=st.sampled_from((1, 2)), place=st.integers(0, 1 << 16), byte=st.integers(0, 255))
def test_a_changed_bundle_proves_nothing_or_the_same(
    rekor: int,
    place: int,
    byte: int,
    instances: dict[int, SimulatedSigstore],
    signed: dict[int, bytes],
    checked: Callable[..., Certified],
) -> None:
    bundle = bytearray(signed[rekor])
    bundle[place % len(bundle)] = byte
    try:
        found = checked(instances[rekor].trusted_root(), bytes(bundle))
    except InstallMLError:
        return
    assert (found.signer, found.signed_at) == (IdentitySigner(IDENTITY, ISSUER_URL), int(NOW.timestamp()))
    assert parse_bundle(bytes(bundle), "").envelope.payload == STATEMENT


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not acceptable JSON"),
        (b"[]", "neither a trust config nor a trusted root"),
        (b'{"mediaType": "application/vnd.oci.image.manifest.v1+json"}', "neither a trust config nor a trusted root"),
        (b'{"mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1"}', "'tlogs' is missing"),
    ],
)
def test_a_file_that_says_nothing_about_trust_is_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(content)
    with pytest.raises(TrustConfigInvalid, match=reason):
        open_verifier(path)


def test_a_trusted_root_alone_does_not_say_who_signs(instance: SimulatedSigstore, tmp_path: Path) -> None:
    path = tmp_path / "root.json"
    path.write_bytes(instance.trusted_root())
    with pytest.raises(TrustConfigInvalid, match="not who signs"):
        KeylessSigner(path)


@pytest.fixture
def nowhere(instances: dict[int, SimulatedSigstore], tmp_path: Path) -> Path:
    """A trust config whose services do not answer."""
    url = "http://127.0.0.1:9"
    signing = signing_config(fulcio=url, rekor=url, tsa=url, issuer=url, start=NOW)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(trust_config(json.loads(instances[2].trusted_root()), signing)))
    return path


@pytest.fixture
def no_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it look as if this were no CI job."""
    for name in ("GITHUB_ACTIONS", "GITLAB_CI", "CIRCLECI", "BUILDKITE", "SIGSTORE_ID_TOKEN"):
        monkeypatch.delenv(name, raising=False)


def test_without_anybody_to_be_nothing_is_signed(nowhere: Path, no_ci: None) -> None:
    with pytest.raises(IdentityMissing, match="nobody says who signs"):
        KeylessSigner(nowhere).bundle(STATEMENT)


def token(**more: Any) -> Secret:
    import jwt

    claims = {"iss": ISSUER_URL, "sub": IDENTITY, "aud": "sigstore", "iat": 1, "exp": 4_000_000_000, **more}
    return Secret(jwt.encode(claims, "a secret that signs tokens of tests only", algorithm="HS256"))


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (token(exp=2), "the token has expired"),
        (token(aud="somebody else"), "made out for somebody else"),
        (Secret("no.token.this"), "malformed"),
    ],
    ids=["expired", "for somebody else", "none"],
)
def test_a_token_of_no_use_is_told_without_showing_it(raw: Secret, why: str, nowhere: Path, no_ci: None) -> None:
    with pytest.raises(IdentityMissing, match=why) as caught:
        KeylessSigner(nowhere, token=raw).bundle(STATEMENT)
    assert raw.reveal().decode() not in f"{caught.value!r} {caught.value} {caught.value.hint}"


def test_services_that_do_not_answer_are_an_error_and_show_no_token(nowhere: Path) -> None:
    raw = token()
    with pytest.raises(SigningFailed) as caught:
        KeylessSigner(nowhere, token=raw).bundle(STATEMENT)
    assert raw.reveal().decode() not in f"{caught.value!r} {caught.value} {caught.value.hint}"


def test_a_token_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("aaa.bbb.ccc\n")
    assert read_token(path) == Secret("aaa.bbb.ccc")


@pytest.mark.parametrize("content", ["", "password", "a.b.c d", "a.b.c" * 40_000, "ä.b.c"])
def test_a_file_that_is_no_token_is_not_sent_anywhere(content: str, tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(content, "utf-8")
    with pytest.raises(IdentityMissing, match="holds no identity token"):
        read_token(path)
