"""Signatures both ways: the real cosign verifies what ``sign`` makes and we what it signs; and what must not pass.

Where cosign lets something through that we refuse, the test says so: its command line compares the subject and not the
predicate type, and knows nothing of our claims unless it is told to compare them.
"""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from installml.api.info import info
from installml.api.keys import keys_export, keys_generate, keys_import
from installml.api.push import push
from installml.api.results import SignResult, VerifyResult
from installml.api.session import Session
from installml.api.sign import sign
from installml.api.verify import verify
from installml.reference import Reference
from installml.registry_server import start
from installml.signing.keyring import KeyRing
from installml.signing.secret import Secret, ask_nobody
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import IMAGE_MANIFEST
from installml.store.verified import read_manifest, read_verified
from installml.transfer import copy
from installml.trust.bundle import BUNDLE, Bundle, KeyHint
from installml.trust.dsse import Envelope
from installml.trust.simple import classic_tag
from installml.trust.statement import COSIGN_SIGN, SCAN, Statement, Subject
from tests.interop.conftest import Observed
from tests.services import tools
from tests.unit.api.kit import make_model, make_session

REGISTRIES: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "distribution 3": tools.distribution3,
    "embedded": start,
}
EVALUATION = "https://example.com/evaluation/v1"
PHRASE = "correct horse"
SKIP_LOG = "--insecure-ignore-tlog=true"
PLAIN = "--allow-http-registry"
NO_LOG = ("--tlog-upload=false", "--use-signing-config=false", PLAIN, "-y")
CLASSIC = "--new-bundle-format=false"


@dataclass(frozen=True)
class Stage:
    """A pushed package, our key ``ada``, cosign's key, and cosign.

    Attributes:
        kind: The registry.
        session: Ours.
        reference: The package by its tag.
        digest: Its manifest.
        folder: Where cosign runs.
    """

    kind: str
    session: Session
    reference: str
    digest: str
    folder: Path

    @property
    def repository(self) -> str:
        return self.reference.rpartition(":")[0]

    @property
    def pinned(self) -> str:
        return f"{self.repository}@{self.digest}"

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run cosign without a transparency log."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "COSIGN_PASSWORD": PHRASE}
        command = [str(tools.tool("cosign")), *words]
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def cosign(self, *words: str) -> str:
        """Run cosign, which must succeed, and return what it writes."""
        done = self.attempt(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    def accepts(self, *flags: str, key: str = "ada.pub", what: str = "") -> bool:
        """Return whether cosign verifies the package under a key."""
        return self.attempt("verify", "--key", key, SKIP_LOG, PLAIN, *flags, what or self.pinned).returncode == 0

    def sign(self, **wishes: Any) -> SignResult:
        """Sign with our key."""
        return sign(self.reference, key="ada", session=self.session, **wishes)

    def verify(self, key: str, reference: str = "") -> VerifyResult:
        """Verify as we do."""
        return verify(reference or self.reference, key=key, session=self.session)

    def attach(self, data: bytes, subject: str = "1.0.0") -> None:
        """Let bytes that claim to be a bundle refer to the package."""
        place = self.session.remote(Reference.parse(self.reference))
        layer, config = Descriptor.of(data, BUNDLE), Descriptor.of(b"{}", "application/vnd.oci.empty.v1+json")
        notes = {"dev.sigstore.bundle.content": "dsse-envelope", "dev.sigstore.bundle.predicateType": COSIGN_SIGN}
        manifest = Manifest(config, (layer,), BUNDLE, notes, place.resolve(subject).bare()).to_bytes()
        for each, content in ((layer, data), (config, b"{}"), (Descriptor.of(manifest, IMAGE_MANIFEST), manifest)):
            place.push(each, io.BytesIO(content))

    def bundles(self) -> list[bytes]:
        """Return the bundles that refer to the package."""
        place = self.session.remote(Reference.parse(self.reference))
        found = []
        for referrer in place.referrers(place.resolve("1.0.0"), BUNDLE):
            manifest = read_manifest(place, referrer.bare())
            assert isinstance(manifest, Manifest)
            found.append(read_verified(place, manifest.layers[0]))
        return found

    def forge(self, payload: bytes) -> None:
        """Attach a payload that our own key has signed: a signer may be careless."""
        key = KeyRing(self.session.keys).find("ada").private(ask_nobody)
        self.attach(Bundle(Envelope.signed(payload, key.sign), KeyHint(key.public_key.hint)).to_bytes())


@pytest.fixture(params=REGISTRIES)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    tools.need("cosign")
    with REGISTRIES[request.param]() as registry:
        session = make_session(tmp_path / "home", tmp_path / "user")
        reference = f"{registry.address}/acme/sentiment:1.0.0"
        pushed = push(make_model(tmp_path / "model"), tag=reference, session=session)
        keys_generate("ada", no_passphrase=True, session=session)
        (tmp_path / "ada.pub").write_text(keys_export("ada", session=session).text)
        made = Stage(request.param, session, reference, str(pushed.digest), tmp_path)
        made.cosign("generate-key-pair")
        keys_import(str(tmp_path / "cosign.pub"), "cosign", session=session)
        yield made


def test_cosign_verifies_what_we_signed(stage: Stage, observed: Observed) -> None:
    stage.sign()
    assert stage.accepts()
    assert not stage.accepts(key="cosign.pub")
    observed("cosign, installml", "sign; verify --key", "verified; refused under another key")


def test_cosign_compares_the_name_that_we_signed_for(stage: Stage, observed: Observed) -> None:
    stage.sign(expires="90d")
    assert stage.accepts("-a", f"dev.installml.ref={stage.reference}")
    assert not stage.accepts("-a", f"dev.installml.ref={stage.repository}:2.0.0")
    observed("cosign, installml", "sign; verify -a dev.installml.ref=", "compared")


def test_cosign_shows_our_signatures_in_the_tree(stage: Stage, observed: Observed) -> None:
    made = stage.sign()
    shown = stage.cosign("tree", "--experimental-oci11=true", PLAIN, stage.pinned)
    shown_as = {"classic": classic_tag(made.digest)}
    assert all(shown_as.get(one.over, one.carrier.hex) in shown for one in made.signatures)
    observed("cosign, installml", "sign; tree", "shown")


def test_cosign_verifies_our_signature_in_the_classic_form(stage: Stage, observed: Observed) -> None:
    stage.sign(cosign_classic="on")
    assert stage.accepts(CLASSIC)
    assert stage.accepts(CLASSIC, "-a", f"dev.installml.ref={stage.reference}")
    assert not stage.accepts(CLASSIC, key="cosign.pub")
    observed("cosign, installml", "sign --cosign-classic on; verify", "verified; refused under another key")


def test_the_classic_form_is_written_where_the_registry_lists_no_referrers(stage: Stage, observed: Observed) -> None:
    stage.sign()
    tags = stage.session.remote(Reference.parse(stage.reference)).tags()
    written = classic_tag(Reference.parse(stage.pinned).digest) in tags  # type: ignore[arg-type]
    assert written is (stage.kind == "distribution 3")
    observed("cosign, installml", "sign", "with the classic form" if written else "without the classic form")


@pytest.mark.parametrize("form", ["bundle", "classic"])
def test_what_cosign_signs_is_verified_here(form: str, stage: Stage, observed: Observed) -> None:
    flags = (CLASSIC,) if form == "classic" else ()
    stage.cosign("sign", "--key", "cosign.key", *flags, *NO_LOG, stage.pinned)
    result = stage.verify("cosign")
    assert (result.trusted, [one.form for one in result.signatures]) == (True, [form])
    assert not stage.verify("ada").trusted
    observed("cosign, installml", f"sign ({form}); verify", "verified; refused under another key")


@pytest.mark.parametrize("form", ["bundle", "classic"])
def test_what_cosign_attests_is_read_here(form: str, stage: Stage, observed: Observed) -> None:
    (stage.folder / "evaluation.json").write_text('{"accuracy": 0.93}')
    flags = (CLASSIC,) if form == "classic" else ()
    stage.cosign(
        "attest", "--key", "cosign.key", "--predicate", "evaluation.json", "--type", EVALUATION, *flags, *NO_LOG,
        stage.pinned,
    )  # fmt: skip
    [told] = info(stage.reference, attestations=True, session=stage.session).attestations or ()
    assert (told.type, told.state, told.key) == (EVALUATION, "holds", "cosign")
    assert not stage.verify("cosign").trusted
    observed("cosign, installml", f"attest ({form}); info --attestations", "holds, and is no signature")


def test_cosign_signs_with_our_key_and_both_verify(stage: Stage, observed: Observed) -> None:
    keys_export("ada", cosign=str(stage.folder / "ours"), session=_asked(stage))
    stage.cosign("sign", "--key", "ours.key", *NO_LOG, stage.pinned)
    assert stage.accepts()
    assert stage.verify("ada").trusted
    observed("cosign, installml", "keys export --cosign; sign; verify", "verified by both")


def _asked(stage: Stage) -> Session:
    return replace(stage.session, ask=lambda _: Secret(PHRASE))


def test_two_signers_stand_side_by_side(stage: Stage, observed: Observed) -> None:
    stage.sign()
    stage.cosign("sign", "--key", "cosign.key", *NO_LOG, stage.pinned)
    assert stage.accepts()
    assert stage.accepts(key="cosign.pub")
    assert stage.verify("ada").trusted
    assert stage.verify("cosign").trusted
    observed("cosign, installml", "sign twice; verify", "each verified by both")


# What must not pass


def test_an_attestation_is_no_signature_for_us(stage: Stage, observed: Observed) -> None:
    """cosign's command line takes a scan by the same key for a signature (trust.md, rule 5)."""
    (stage.folder / "scan.json").write_text('{"findings": []}')
    stage.cosign(
        "attest", "--key", "cosign.key", "--predicate", "scan.json", "--type", SCAN, *NO_LOG, stage.pinned
    )  # fmt: skip
    result = stage.verify("cosign")
    assert (result.trusted, result.reason) == (False, "unsigned")
    assert stage.accepts(key="cosign.pub")
    observed("cosign, installml", "attest; verify as a signature", "refused by installml, accepted by cosign")


def test_a_package_without_its_signatures_is_unsigned(stage: Stage, observed: Observed) -> None:
    stage.sign()
    bare = copied(stage, "acme/bare")
    assert bare.verify("ada").reason == "unsigned"
    assert not bare.accepts()
    observed("cosign, installml", "sign, copied without signatures; verify", "refused by both")


def copied(stage: Stage, name: str) -> Stage:
    """Copy the package, and nothing that refers to it, to another repository."""
    target = f"{stage.reference.partition('/')[0]}/{name}:1.0.0"
    source, place = (stage.session.remote(Reference.parse(text)) for text in (stage.reference, target))
    copy(source, place, source.resolve("1.0.0"), tags=["1.0.0"])
    return replace(stage, reference=target)


def _statement(data: bytes) -> dict[str, Any]:
    document = json.loads(data)
    found: dict[str, Any] = json.loads(base64.b64decode(document["dsseEnvelope"]["payload"]))
    return found


def _bytes(document: dict[str, Any]) -> bytes:
    return json.dumps(document).encode()


def _altered(document: dict[str, Any]) -> bytes:
    payload = base64.b64decode(document["dsseEnvelope"]["payload"]).replace(b":1.0.0", b":9.9.9")
    document["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    return _bytes(document)


CHANGES: dict[str, Callable[[dict[str, Any]], bytes]] = {
    "truncated": lambda document: _bytes(document)[:-20],
    "payload altered": _altered,
    "empty": lambda document: b"{}",
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_signature_that_was_changed_counts_for_nobody(name: str, stage: Stage, observed: Observed) -> None:
    stage.sign(cosign_classic="off")
    [data] = [data for data in stage.bundles() if _statement(data)["predicateType"] == COSIGN_SIGN]
    there = copied(stage, "acme/damaged")
    there.attach(CHANGES[name](json.loads(data)))
    result = there.verify("ada")
    assert not result.trusted
    assert [one.counts for one in result.signatures] == [False]
    assert not there.accepts()
    observed("cosign, installml", f"sign, {name}; verify", "refused by both")


def test_a_signature_of_another_package_does_not_count(stage: Stage, observed: Observed) -> None:
    stage.sign(cosign_classic="off")
    second = f"{stage.repository}:2.0.0"
    folder = make_model(stage.folder / "second", version="2.0.0", files={"weights.bin": b"evil"})
    pushed = push(folder, tag=second, session=stage.session)
    for data in stage.bundles():
        stage.attach(data, "2.0.0")
    result = stage.verify("ada", second)
    assert (result.trusted, result.reason) == (False, "unsigned")
    assert not stage.accepts(what=f"{stage.repository}@{pushed.digest}")
    observed("cosign, installml", "sign, bundle attached to another digest; verify", "refused by both")


def test_a_signature_for_another_repository_is_refused_here(stage: Stage, observed: Observed) -> None:
    """cosign compares no name unless it is told to: whoever can push can pass the package off as another."""
    stage.sign(cosign_classic="off")
    other = copied(stage, "acme/other")
    for data in stage.bundles():
        other.attach(data)
    assert (other.verify("ada").trusted, other.verify("ada").reason) == (False, "subject-mismatch")
    assert other.accepts()
    observed("cosign, installml", "sign, copied to another repository; verify", "refused by installml")


def test_an_expired_signature_is_refused_here(stage: Stage, observed: Observed) -> None:
    stage.sign(expires="1h", cosign_classic="off")
    clock = stage.session.clock
    later = replace(stage.session, clock=lambda: clock() + 3601)
    result = verify(stage.reference, key="ada", session=later)
    assert (result.trusted, result.reason) == (False, "signature-expired")
    observed("installml", "sign --expires, later; verify", "refused")


def test_a_signature_about_two_things_at_once_is_refused_here(stage: Stage, observed: Observed) -> None:
    digest = Reference.parse(stage.pinned).digest
    assert digest is not None
    other = Subject("", (type(digest)("sha256", "0" * 64),))
    stage.forge(Statement((Subject("", (digest,)), other), COSIGN_SIGN).to_bytes())
    assert not stage.verify("ada").trusted
    assert stage.accepts()
    observed("cosign, installml", "two subjects; verify", "refused by installml, accepted by cosign")


def test_a_payload_with_a_key_twice_is_refused(stage: Stage, observed: Observed) -> None:
    digest = stage.digest.partition(":")[2]
    subject = f'{{"digest":{{"sha256":"{digest}"}}}}'
    types = f'"predicateType":"{SCAN}","predicateType":"{COSIGN_SIGN}"'
    payload = f'{{"_type":"https://in-toto.io/Statement/v1","subject":[{subject}],{types},"predicate":{{}}}}'
    stage.forge(payload.encode())
    result = stage.verify("ada")
    assert not result.trusted
    assert [one.counts for one in result.signatures] == [False]
    assert not stage.accepts()
    observed("cosign, installml", "a key twice in the payload; verify", "refused by both")
