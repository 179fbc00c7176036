"""cosign and npm's @sigstore/verify judge bundles as we do: ours, those of the simulator, and each that is wrong."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.signing.keyless import KeylessSigner
from installml.signing.secret import Secret
from installml.testing.sigstore import IDENTITY, ISSUER_URL, Flaw, SimulatedSigstore
from installml.trust.statement import COSIGN_SIGN, Statement, Subject
from tests.interop.conftest import Observed
from tests.services.programs import TOOLS, NodeTool
from tests.services.sigstore import Sigstore, sigstore
from tests.services.tools import need

pytestmark = pytest.mark.integration

NOW = datetime(2025, 6, 1, 12, tzinfo=UTC)
PACKAGE = Digest.of(b"the package")
STATEMENT = Statement((Subject("", (PACKAGE,)),), COSIGN_SIGN).to_bytes()
BY_TIMESTAMP = {Flaw.OTHER_TIME, Flaw.TIME_OF_ANOTHER}
Judge = Callable[..., "subprocess.CompletedProcess[str]"]


def run(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    return subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False)


def by_cosign(root: Path, bundle: Path, identity: str, issuer: str) -> subprocess.CompletedProcess[str]:
    words = [
        str(need("cosign")), "verify-blob-attestation", "--bundle", str(bundle), "--trusted-root", str(root),
        "--certificate-identity", identity, "--certificate-oidc-issuer", issuer, "--type", COSIGN_SIGN,
        "--digest", PACKAGE.hex, "--digestAlg", "sha256",
    ]  # fmt: skip
    return run(words, bundle.parent)


def by_npm(root: Path, bundle: Path, identity: str, issuer: str) -> subprocess.CompletedProcess[str]:
    script, tool = need("sigstore-verify"), TOOLS["sigstore-verify"]
    assert isinstance(tool, NodeTool)
    return run(["node", str(script), str(tool.home), str(root), str(bundle), identity, issuer], bundle.parent)


JUDGES: dict[str, Judge] = {"cosign": by_cosign, "sigstore-verify": by_npm}
LENIENT = {"sigstore-verify": {Flaw.NO_CODE_SIGNING}}
"""What a tool does not mind: @sigstore/verify 4.1.3 does not ask what a certificate is for."""


@pytest.fixture(params=JUDGES)
def judge(request: pytest.FixtureRequest, tmp_path: Path) -> Judge:
    """Whether a tool accepts a bundle under a trusted root, as signed by somebody."""

    def judged(
        root: bytes, bundle: bytes, identity: str = IDENTITY, issuer: str = ISSUER_URL
    ) -> subprocess.CompletedProcess[str]:
        for name, data in (("root.json", root), ("bundle.json", bundle)):
            (tmp_path / name).write_bytes(data)
        return JUDGES[request.param](tmp_path / "root.json", tmp_path / "bundle.json", identity, issuer)

    return judged


@pytest.fixture
def tool(request: pytest.FixtureRequest) -> str:
    """What the table calls the tool and us."""
    return ", ".join(sorted((request.node.callspec.params["judge"], "installml")))


@pytest.fixture(scope="module")
def instances() -> dict[int, SimulatedSigstore]:
    return {rekor: SimulatedSigstore(NOW, rekor=rekor) for rekor in (1, 2)}


@pytest.mark.parametrize("rekor", [1, 2])
def test_what_the_simulator_signs_is_accepted(
    rekor: int, judge: Judge, instances: dict[int, SimulatedSigstore]
) -> None:
    instance = instances[rekor]
    done = judge(instance.trusted_root(), instance.sign(STATEMENT))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("rekor", "flaw"), [(r, f) for r in (1, 2) for f in Flaw if r == 2 or f not in BY_TIMESTAMP], ids=str
)
def test_what_is_wrong_here_is_wrong_there(
    rekor: int,
    flaw: Flaw,
    judge: Judge,
    instances: dict[int, SimulatedSigstore],
    tool: str,
    observed: Observed,
) -> None:
    instance = instances[rekor]
    done = judge(instance.trusted_root(), instance.sign(STATEMENT, flaw=flaw))
    lenient = any(flaw in flaws for name, flaws in LENIENT.items() if name in tool)
    assert (done.returncode == 0) is lenient, done.stdout + done.stderr
    operation = f"a bundle where {flaw}; verify" if lenient else f"{len(Flaw)} bundles with one thing wrong; verify"
    observed(tool, operation, f"refused by installml, {'accepted by npm' if lenient else 'refused'}")


@pytest.fixture(scope="module")
def services() -> Iterator[Sigstore]:
    with sigstore() as running:
        yield running


@pytest.fixture(scope="module")
def ours(services: Sigstore) -> bytes:
    """A bundle that we signed with the real services."""
    return KeylessSigner(services.trust_config, token=Secret(services.token(IDENTITY))).bundle(STATEMENT).to_bytes()


def test_what_we_sign_is_accepted(judge: Judge, services: Sigstore, ours: bytes, tool: str, observed: Observed) -> None:
    done = judge(services.trusted_root.read_bytes(), ours, issuer=services.issuer)
    assert done.returncode == 0, done.stderr
    observed(tool, "KeylessSigner, in a file; verify", "verified")


def test_what_we_sign_is_refused_as_somebody_elses(judge: Judge, services: Sigstore, ours: bytes) -> None:
    root = services.trusted_root.read_bytes()
    assert judge(root, ours, "bob@example.org", services.issuer).returncode != 0
    assert judge(root, ours, issuer="https://accounts.google.com").returncode != 0


def test_what_we_sign_is_refused_under_other_roots(
    judge: Judge, services: Sigstore, ours: bytes, instances: dict[int, SimulatedSigstore]
) -> None:
    assert judge(instances[2].trusted_root(), ours, issuer=services.issuer).returncode != 0
