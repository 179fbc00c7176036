"""Keys and tokens are found and never shown; placeholders, hashes and vocabularies are none.

The secrets here are made up: each is put together, so that no other scanner takes this file for a leak.
"""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scanning.looking import blocking, findings, rules

RANDOM = "Zq8Rk2Vw7Yt3Lm9Xc4Bn6Hj1Gf5Dp0SaQeUiOoPlKrJ8hGf2Ds4Az6Xc9Vb1Nm3Qw5Er7Ty2Ui4Op6As8Df1Gh3Jk5Lz7Xc9Vb2Nm4"
KEY = "-----BEGIN " + "PRIVATE KEY-----\n" + RANDOM + "\n" + RANDOM[::-1] + "\n-----END " + "PRIVATE KEY-----\n"

TOKENS = {
    "Hugging Face": "hf" + "_" + RANDOM[:34],
    "GitHub": "gh" + "p_" + RANDOM[:36],
    "GitHub, fine-grained": "github" + "_pat_" + RANDOM[:22] + "_" + RANDOM[:59],
    "GitLab": "gl" + "pat-" + RANDOM[:20],
    "AWS": "AK" + "IA" + "QZ7RKWY3LMXC4BNH",
    "AWS secret": 'aws_secret_access_key = "' + RANDOM[:40] + '"',
    "OpenAI": "sk-" + "proj-" + RANDOM[:24] + "T3Blbk" + "FJ" + RANDOM[:24],
    "Anthropic": "sk-" + "ant-api03-" + RANDOM[:86],
    "Slack": "xo" + "xb-804172639518-" + RANDOM[:24],
    "Google": "AI" + "za" + RANDOM[:35],
    "Stripe": "sk" + "_live_" + RANDOM[:28],
    "npm": "npm" + "_" + RANDOM[:36],
    "PyPI": "pypi-" + "AgEIcHlwaS5vcmc" + RANDOM[:70],
    "Azure": "Account" + "Key=" + RANDOM[:86] + "==",
    "Weights & Biases": "WANDB_API_KEY=" + "8f14e45fceea167a5a36dedd4bea2543b1c2d3e4",
}
QUIET = {
    "a placeholder": 'token = "hf_xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"',
    "a documented example": "AK" + "IAIOSFODNN7EXAMPLE",
    "your token here": 'export HF_TOKEN="hf_your_token_goes_here_please_thanks"',
    "tokens of a tokenizer": '{"bos_token": "<|begin_of_text|>", "unk_token": "[UNK]", "pad_token": "<pad>"}',
    "a hash": '{"sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}',
    "a variable": 'password = os.environ["DATABASE_PASSWORD"]',
    "a template of an address": "postgres://user:${PASSWORD}@host/db",
    "a public key": "-----BEGIN PUBLIC KEY-----\n" + RANDOM + "\n-----END PUBLIC KEY-----",
    "a word": '"api_key": "not-needed-for-this"',
    "a picture in text": "data:image/png;base64," + RANDOM * 3,
}


@pytest.mark.parametrize("kind", TOKENS)
@pytest.mark.parametrize("name", ["config.json", "README.md", "train.ipynb"])
def test_a_token_blocks_and_is_not_shown(kind: str, name: str) -> None:
    found = [one for one in findings(name, f"# x\n{TOKENS[kind]}\n") if one.rule.id == "secret-token"]
    assert len(found) == 1
    assert RANDOM[4:16] not in str(found)


def test_a_private_key_blocks_in_a_file_and_in_json() -> None:
    assert "secret-private-key" in blocking("notes.txt", KEY)
    assert "secret-private-key" in blocking("service.json", '{"private_key": "' + KEY.replace("\n", "\\n") + '"}')
    assert "secret-private-key" in blocking("weights.bin", KEY)


@pytest.mark.parametrize("kind", QUIET)
def test_what_only_looks_like_a_secret_is_not_told(kind: str) -> None:
    assert findings("README.md", QUIET[kind]) == []


def test_a_password_in_a_setting_is_told_and_does_not_block() -> None:
    assert rules("settings.ini", f"password = '{RANDOM[:24]}'") == {"secret-password"}
    assert rules("db.txt", f"postgres://bob:{RANDOM[:14]}@db.example.org/x") == {"secret-password"}


def test_files_in_which_programs_keep_passwords_are_told() -> None:
    assert "secret-file" in rules("folder/.netrc", "machine x login y")
    assert "secret-file" in rules(".env", "A=1")
    assert "secret-file" not in rules(".env.example", "A=1")


def test_a_secret_across_two_windows_is_told_once() -> None:
    text = "x" * ((1 << 20) - 20) + "\n" + TOKENS["Hugging Face"] + "\n" + "y" * (1 << 20)
    assert len(findings("big.txt", text)) == 1


def test_text_of_two_bytes_a_character_is_read() -> None:
    assert "secret-token" in rules("notes.txt", TOKENS["Hugging Face"].encode("utf-16"))


def test_binary_weights_are_not_searched() -> None:
    assert findings("weights.dat", b"\xff\0\x01" + TOKENS["GitHub"].encode()) == []


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_give_findings_and_nothing_else(data: bytes) -> None:
    findings("notes.txt", data)
