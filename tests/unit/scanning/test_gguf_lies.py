"""GGUF: counts, lengths, offsets and templates that lie or attack; what llama.cpp's writer lays out has no finding."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.scanning.looking import (
    blocking,
    chat,
    findings,
    gguf,
    gguf_pair,
    gguf_tensor,
    gguf_text,
    rules,
)

ARCHITECTURE = gguf_pair("general.architecture", 8, gguf_text("llama"))
CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']}}"
    "{{ '<|im_end|>' + '\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
TOKENS = gguf_pair(
    "tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 3) + gguf_text("<s>") + gguf_text("</s>") + gguf_text("a")
)
SCORES = gguf_pair("tokenizer.ggml.scores", 9, struct.pack("<IQ", 6, 3) + bytes(12))
GOOD = gguf(
    (ARCHITECTURE, TOKENS, SCORES, gguf_pair("tokenizer.chat_template", 8, gguf_text(CHATML))),
    (gguf_tensor("a", (32, 4), 0, 0), gguf_tensor("b", (4,), 0, 512)),
    528,
)
ONE = (gguf_tensor("a", (8,), 0, 0),)

MALICIOUS = {
    "more tensors than bytes": (gguf(counts=(1 << 60, 0)), "gguf-bounds"),
    "more pairs than bytes": (gguf(counts=(0, 1 << 40)), "gguf-bounds"),
    "a key without end": (gguf((struct.pack("<Q", 1 << 62) + b"a",)), "gguf-bounds"),
    "a text without end": (gguf((gguf_pair("a", 8, struct.pack("<Q", 2**64 - 1)),)), "gguf-bounds"),
    "an array that multiplies over": (gguf((gguf_pair("a", 9, struct.pack("<IQ", 10, 1 << 61)),)), "gguf-bounds"),
    "texts that are not there": (gguf((gguf_pair("a", 9, struct.pack("<IQ", 8, 3) + gguf_text("x")),)), "gguf-bounds"),
    "a text in an array without end": (
        gguf((gguf_pair("a", 9, struct.pack("<IQQ", 8, 1, 1 << 50)),)), "gguf-bounds"),
    "arrays in arrays in arrays": (
        gguf((gguf_pair("a", 9, struct.pack("<IQ", 9, 1) * 40 + bytes(200)),)), "unreadable"),
    "a tensor behind the end": (gguf((), (gguf_tensor("a", (1024,), 0, 0),), 32), "gguf-bounds"),
    "an offset behind the end": (gguf((), (gguf_tensor("a", (8,), 0, 1 << 40),), 32), "gguf-bounds"),
    "a shape that overflows": (gguf((), (gguf_tensor("a", (2**62, 2**62), 0, 0),), 32), "gguf-bounds"),
    "too many dimensions": (gguf((), (gguf_tensor("a", (1,) * 9, 0, 0),), 32), "gguf-bounds"),
    "a tensor's name too long": (gguf((), (gguf_tensor("a" * 3000, (8,), 0, 0),), 32), "gguf-bounds"),
    "overlapping tensors": (
        gguf((), (gguf_tensor("a", (16,), 0, 0), gguf_tensor("b", (16,), 0, 32)), 96), "gguf-overlap"),
    "a crooked offset": (gguf((), (gguf_tensor("a", (8,), 0, 7),), 64), "gguf-alignment"),
    "an alignment of nothing": (gguf((gguf_pair("general.alignment", 4, bytes(4)),), ONE, 32), "gguf-alignment"),
    "an alignment of three": (
        gguf((gguf_pair("general.alignment", 4, struct.pack("<I", 3)),), ONE, 32), "gguf-alignment"),
    "a key twice": (gguf((ARCHITECTURE, ARCHITECTURE)), "gguf-duplicate"),
    "a tensor twice": (gguf((), (gguf_tensor("a", (8,), 0, 0), gguf_tensor("a", (8,), 0, 32)), 64), "gguf-duplicate"),
    "a type that does not exist": (gguf((gguf_pair("a", 77, b""),)), "unreadable"),
    "version nine": (GOOD[:4] + struct.pack("<I", 9) + GOOD[8:], "unreadable"),
    "cut in the metadata": (GOOD[:60], "gguf-bounds"),
    "no GGUF under its name": (b"something else entirely", "unreadable"),
    "a template that reaches for classes": (chat("{{ ''.__class__.__mro__[1].__subclasses__() }}"), "template-escape"),
    "a template under another key": (
        gguf((gguf_pair("general.description", 8, gguf_text("{{ cycler.__init__.__globals__.os }}")),)),
        "template-escape",
    ),
    "a named template": (
        gguf((gguf_pair("tokenizer.chat_template.tool_use", 8, gguf_text("{{ x|attr('a') }}")),)), "template-dynamic"),
}  # fmt: skip


@pytest.mark.parametrize("case", MALICIOUS)
def test_a_number_that_lies_or_a_template_that_attacks_is_told(case: str) -> None:
    data, rule = MALICIOUS[case]
    assert rule in blocking("model.gguf", data)


def test_what_llama_cpp_writes_has_no_finding() -> None:
    assert findings("model.gguf", GOOD) == []
    assert findings("vocabulary.gguf", gguf((ARCHITECTURE, TOKENS))) == []


def test_a_template_too_large_to_be_read_blocks() -> None:
    assert "template-unparsed" in blocking("model.gguf", chat("{# " + "x" * (5 << 20) + " #}{{ x.__class__ }}"))


def test_the_other_byte_order_is_read() -> None:
    swapped = b"GGUF" + struct.pack(">IQQ", 3, 0, 1) + struct.pack(">Q", 1) + b"a" + struct.pack(">IQ", 8, 1 << 40)
    assert "gguf-bounds" in rules("model.gguf", swapped)


def test_bytes_that_no_tensor_has_are_told_and_do_not_block() -> None:
    data = gguf((), ONE, 32) + b"something" * 20
    assert "gguf-gap" in rules("model.gguf", data)
    assert blocking("model.gguf", data) == set()


def test_a_program_behind_the_tensors_blocks() -> None:
    assert "code-native" in blocking("model.gguf", gguf((), ONE, 32) + b"\x7fELF" + bytes(100))


def test_a_number_format_of_tomorrow_does_not_block() -> None:
    assert findings("model.gguf", gguf((), (gguf_tensor("a", (8,), 999, 0),), 64))[0].rule.id == "gguf-type"
    assert blocking("model.gguf", gguf((), (gguf_tensor("a", (8,), 999, 0),), 64)) == set()


def test_a_vocabulary_of_many_texts_is_passed_over() -> None:
    texts = b"".join(gguf_text(f"token{n}" * 3) for n in range(60_000))
    tokens = gguf_pair("tokenizer.ggml.tokens", 9, struct.pack("<IQ", 8, 60_000) + texts)
    assert findings("model.gguf", gguf((tokens, ARCHITECTURE), ONE, 32)) == []


@pytest.mark.parametrize(
    "text",
    [
        "@misc{x, title={{BERT}: a {{model}}}, year={2019}}",
        "{{ .System }} {{ if .Prompt }}x{{ end }}",
        "{{#each a}}b{{/each}}",
    ],
)
def test_braces_that_are_no_jinja_in_other_metadata_pass(text: str) -> None:
    assert findings("m.gguf", gguf((gguf_pair("general.description", 8, gguf_text(text)),))) == []


def test_a_finding_says_where_the_template_stands() -> None:
    data = chat("{{ messages }}{{ x.__class__ }}")
    (found,) = findings("model.gguf", data)
    assert data[found.offset or 0 :].startswith(b".__class__")


@settings(deadline=None)
@given(st.data())
def test_a_changed_file_gives_findings_and_nothing_else(data: st.DataObject) -> None:
    at = data.draw(st.integers(4, len(GOOD) - 1))
    changed = bytearray(GOOD)
    changed[at : at + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=12))
    findings("model.gguf", bytes(changed))
