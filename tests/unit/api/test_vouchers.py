"""Whose word it is: a key's or somebody's, never both, and without a network only a key's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from installml.api.keys import keys_generate
from installml.api.session import Session
from installml.api.vouchers import Keyless, Login, key_of, name_of, voucher_of
from installml.errors import UsageError


def test_a_key_signs_as_itself(session: Session) -> None:
    made = keys_generate("ada", no_passphrase=True, session=session)
    voucher = voucher_of("ada", None, session)
    key = key_of(voucher)
    assert key is not None
    assert name_of(voucher) == f"key {key.fingerprint}" == f"key {made.key.fingerprint}"


def test_somebody_signs_without_a_key(session: Session) -> None:
    voucher = voucher_of("", Login(browser=True), session)
    assert isinstance(voucher, Keyless)
    assert key_of(voucher) is None
    assert voucher.identity is None


def test_it_is_a_key_or_somebody(session: Session) -> None:
    with pytest.raises(UsageError, match="not both"):
        voucher_of("ada", Login(), session)


def test_nobody_logs_in_without_a_network(session: Session) -> None:
    with pytest.raises(UsageError, match="only a key can sign"):
        voucher_of("", Login(), replace(session, offline=True))
