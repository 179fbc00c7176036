"""scan: folders, files, packages of the store and of a registry; what the gate says and what somebody answers for."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.pull import pull
from installml.api.push import push
from installml.api.scan import examine, scan
from installml.api.session import Session
from installml.api.subset import PackagePartial
from installml.errors import NotFound, UsageError
from installml.registry_server import RunningRegistry
from installml.scanning.errors import AdvisoriesInvalid, ScannerMissing, SuppressionsInvalid
from installml.scanning.gate import Gate
from tests.unit.api.kit import make_model

ESCAPE = b"{{ x.__class__ }}"
EXCUSE = """[[suppress]]
rule = "template-escape"
path = "*.jinja"
reason = "a test"
who = "ana"
expires = {}
"""


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    files = {"weights.bin": bytes(64), "chat_template.jinja": ESCAPE, "lib/config.json": b'{"a": 1}'}
    return make_model(tmp_path / "bad", "acme/bad", files=files)


def test_a_folder_is_scanned(bad: Path, session: Session) -> None:
    result = scan(f"dir:{bad}", session=session)
    assert result.blocked
    assert result.counts == {"critical": 1}
    (finding,) = result.findings
    assert (finding.rule, finding.path, finding.offset) == ("template-escape", "chat_template.jinja", 4)
    assert finding.advice


def test_a_folder_without_a_recipe_is_scanned_too(tmp_path: Path, session: Session) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "x.jinja").write_bytes(ESCAPE)
    assert scan(str(tmp_path / "raw"), session=session).blocked


def test_a_single_file_is_scanned_and_lacks_no_licence(bad: Path, session: Session) -> None:
    result = scan(str(bad / "chat_template.jinja"), session=session)
    assert [finding.rule for finding in result.findings] == ["template-escape"]
    assert result.files == 1


def test_a_good_model_passes(model: Path, session: Session) -> None:
    result = scan(f"dir:{model}", session=session)
    assert not result.blocked
    assert result.findings == ()


def test_a_package_of_the_local_store_is_scanned_by_its_blobs(bad: Path, session: Session) -> None:
    built = build(str(bad), session=session)
    result = scan("acme/bad:1.0.0", session=session)
    assert result.blocked
    assert result.digest == str(built.digest)
    assert {finding.path for finding in result.findings} == {"chat_template.jinja"}


def test_a_package_of_a_registry_is_brought_and_scanned(
    bad: Path, session: Session, open_session: Callable[..., Session], registry: RunningRegistry
) -> None:
    build(str(bad), session=session)
    push("acme/bad:1.0.0", f"{registry.address}/acme/bad:1.0.0", session=session)
    other = open_session("other")
    result = scan(f"{registry.address}/acme/bad:1.0.0", session=other)
    assert result.blocked
    assert result.files >= 3
    assert other.local(other.qualify(f"{registry.address}/acme/bad:1.0.0")).tags()


def test_a_package_that_is_here_in_part_is_not_called_clean(
    bad: Path, session: Session, open_session: Callable[..., Session], registry: RunningRegistry
) -> None:
    build(str(bad), session=session)
    reference = f"{registry.address}/acme/bad:1.0.0"
    push("acme/bad:1.0.0", reference, session=session)
    pull(reference, only="*.bin", allow_unsigned=True, session=open_session("other"))
    with pytest.raises(PackagePartial):
        scan(reference, session=open_session("other", flags={"offline": True}))


def test_the_gate_of_an_installation_sees_the_same(bad: Path, session: Session) -> None:
    from installml.api.places import find

    build(str(bad), session=session)
    package = find("acme/bad:1.0.0", session).package()
    report, outcome = examine(package, session, Gate())
    assert outcome.blocked
    assert len(report.files) == len(package.files)


def test_of_a_part_only_its_files_are_looked_at_and_what_lacks_is_a_finding(bad: Path, session: Session) -> None:
    from installml.api.places import find

    build(str(bad), session=session)
    package = find("acme/bad:1.0.0", session).package()
    report, outcome = examine(package, session, Gate(), only=["weights.bin"])
    assert ([file.path for file in report.files], outcome.blocked) == (["weights.bin"], False)
    weights = package.file("weights.bin")
    assert weights is not None
    session.store.blobs.path(weights.descriptor.digest).unlink()
    _, outcome = examine(package, session, Gate(), only=["weights.bin"])
    assert [finding.rule.id for finding in outcome.too_bad] == ["unopened"]


@pytest.mark.parametrize(("block", "blocked"), [("info", True), ("critical", True), ("never", False)])
def test_from_which_severity_it_blocks_can_be_said(bad: Path, session: Session, block: str, blocked: bool) -> None:
    result = scan(f"dir:{bad}", block=block, session=session)
    assert (result.blocked, len(result.findings)) == (blocked, 1)


def test_what_somebody_answers_for_does_not_block(bad: Path, session: Session, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(EXCUSE.format("2999-01-01"))
    result = scan(f"dir:{bad}", suppressions=str(tmp_path / "s.toml"), session=session)
    assert not result.blocked
    assert result.findings == ()
    (hidden,) = result.suppressed
    assert (hidden.who, hidden.reason, hidden.expires) == ("ana", "a test", "2999-01-01")


def test_a_suppression_that_has_ended_is_told_and_hides_nothing(
    bad: Path, open_session: Callable[..., Session], tmp_path: Path
) -> None:
    (tmp_path / "s.toml").write_text(EXCUSE.format("2027-01-31"))
    last_second = 1801439999.0  # 2027-01-31T23:59:59Z
    before = open_session("home", clock=lambda: last_second)
    after = open_session("home", clock=lambda: last_second + 1)
    suppressions = str(tmp_path / "s.toml")
    assert not scan(f"dir:{bad}", suppressions=suppressions, session=before).blocked
    result = scan(f"dir:{bad}", suppressions=suppressions, session=after)
    assert result.blocked
    assert "ended on 2027-01-31" in result.notices[0]


def test_a_suppression_of_nothing_is_told(model: Path, session: Session, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text(EXCUSE.format("2999-01-01"))
    (notice,) = scan(f"dir:{model}", suppressions=str(tmp_path / "s.toml"), session=session).notices
    assert "is about nothing" in notice


def test_a_lock_is_compared_with_advisories(session: Session, tmp_path: Path) -> None:
    lock = {"weights.bin": b"x", "requirements.txt": b"acme-lib==1.3\n"}
    folder = make_model(tmp_path / "locked", "acme/locked", files=lock)
    events = [{"introduced": "0"}, {"fixed": "1.4"}]
    affected = {
        "package": {"ecosystem": "PyPI", "name": "acme-lib"},
        "ranges": [{"type": "ECOSYSTEM", "events": events}],
    }
    advisory = {"id": "GHSA-1", "affected": [affected], "database_specific": {"severity": "CRITICAL"}}
    (tmp_path / "osv.json").write_text(json.dumps(advisory))
    result = scan(f"dir:{folder}", advisories=str(tmp_path / "osv.json"), session=session)
    assert [finding.rule for finding in result.findings] == ["advisory-critical"]
    assert scan(f"dir:{folder}", session=session).findings == ()


def test_a_second_opinion_is_asked(model: Path, session: Session) -> None:
    (model / "model.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    found = {finding.rule for finding in scan(f"dir:{model}", opinions=["picklescan"], session=session).findings}
    assert {"picklescan-dangerous", "pickle-dangerous-import"} <= found


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"block": "very"}, UsageError),
        ({"opinions": ["clamav"]}, UsageError),
        ({"suppressions": "/nowhere.toml"}, UsageError),
        ({"advisories": "/nowhere"}, AdvisoriesInvalid),
    ],
)
def test_what_cannot_be_meant_is_refused(
    model: Path, session: Session, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        scan(f"dir:{model}", session=session, **arguments)  # type: ignore[arg-type]


def test_suppressions_that_break_their_form_are_refused(model: Path, session: Session, tmp_path: Path) -> None:
    (tmp_path / "s.toml").write_text("[[suppress]]\nrule = 'x'\n")
    with pytest.raises(SuppressionsInvalid):
        scan(f"dir:{model}", suppressions=str(tmp_path / "s.toml"), session=session)


def test_trivy_is_said_to_be_missing(model: Path, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ScannerMissing):
        scan(f"dir:{model}", opinions=["trivy"], session=session)


def test_what_is_not_there_is_not_called_clean(session: Session, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        scan(f"dir:{tmp_path / 'nothing'}", session=session)
    with pytest.raises(NotFound):
        scan("acme/nothing:1", session=session)


def test_a_file_that_cannot_be_opened_blocks(model: Path, session: Session) -> None:
    (model / "loop").symlink_to("loop")
    assert "unopened" in {finding.rule for finding in scan(f"dir:{model}", session=session).findings}
