"""``model.sig`` in a folder: model_signing verifies what ``install`` leaves there, and ``verify`` what it signs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from installml.api.install import install
from installml.api.keys import keys_export, keys_generate
from installml.api.places import find
from installml.api.push import push
from installml.api.session import Session
from installml.api.trust import trust_add
from installml.api.trusting import judge, model_signature, place_signature
from installml.api.verify import verify
from installml.registry_server import start
from installml.signing.keyfile import write_pkcs8
from installml.signing.keyring import KeyRing
from installml.signing.secret import ask_nobody
from tests.interop.conftest import Observed
from tests.interop.ground import FILES
from tests.services.tools import need
from tests.unit.api.kit import make_model, make_session


@dataclass(frozen=True)
class Stage:
    """An installed model that ``ada`` has signed, and model_signing."""

    session: Session
    installed: Path
    folder: Path
    python: Path

    def model_signing(self, verb: str, model: Path, *flags: str) -> bool:
        """Return whether model_signing did what it was asked to."""
        words = [self.python, "-m", "model_signing", verb, "key", model, "--signature", model / "model.sig", *flags]
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "LC_ALL": "C.UTF-8"}
        done = subprocess.run(
            list(map(str, words)), env=environment, cwd=self.folder, capture_output=True, timeout=60, check=False
        )
        return done.returncode == 0


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    python = need("model-signing")
    with start() as registry:
        session = make_session(tmp_path / "home", tmp_path / "user", flags={"policy": ""})
        keys_generate("ada", no_passphrase=True, session=session)
        (tmp_path / "ada.pub").write_text(keys_export("ada", session=session).text)
        (tmp_path / "ada.pem").write_bytes(write_pkcs8(KeyRing(session.keys).find("ada").private(ask_nobody), None))
        repository = f"{registry.address}/acme/hard"
        trust_add(repository, key="ada", session=session)
        push(make_model(tmp_path / "model", files=FILES), tag=f"{repository}:1.0.0", sign=True, session=session)
        installed = Path(install(f"{repository}:1.0.0", runtime=False, session=session).path)
        found = find(f"{repository}:1.0.0", session)
        data = model_signature(found, judge(found, session), session)
        assert data is not None
        place_signature(installed, data)
        yield Stage(session, installed, tmp_path, python)


def test_model_signing_verifies_an_installed_folder(stage: Stage, observed: Observed) -> None:
    assert stage.model_signing("verify", stage.installed, "--public_key", "ada.pub")
    assert verify(str(stage.installed), session=stage.session).trusted
    observed("installml, model-signing", "install; verify key", "verified by both")


def test_both_see_a_changed_file_of_an_installed_folder(stage: Stage, observed: Observed) -> None:
    path = stage.installed / "README.md"
    stage.installed.chmod(0o755)
    path.unlink()
    path.write_bytes(b"evil")
    assert not stage.model_signing("verify", stage.installed, "--public_key", "ada.pub")
    assert verify(str(stage.installed), session=stage.session).differences == ("README.md was changed",)
    observed("installml, model-signing", "install, a file changed; verify key", "refused by both")


def test_a_folder_that_model_signing_signed_is_verified_here(stage: Stage, observed: Observed) -> None:
    model = stage.folder / "theirs"
    model.mkdir()
    for name, data in FILES.items():
        (model / name).parent.mkdir(parents=True, exist_ok=True)
        (model / name).write_bytes(data)
    assert stage.model_signing("sign", model, "--private_key", "ada.pem")
    result = verify(str(model), key="ada", session=stage.session)
    assert (result.trusted, result.files) == (True, len(FILES))
    keys_generate("eve", no_passphrase=True, session=stage.session)
    assert not verify(str(model), key="eve", session=stage.session).trusted
    (model / "extra.py").write_bytes(b"evil")
    assert verify(str(model), key="ada", session=stage.session).differences == ("extra.py was not signed",)
    observed("installml, model-signing", "sign key; verify DIR", "verified; refused under another key or changed")
