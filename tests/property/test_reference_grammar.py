"""Names: whatever is generated from the grammar comes back, whatever is not is refused in words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from installml.errors import ReferenceInvalid
from installml.reference import Reference, check_repository, check_tag, parse_location
from installml.store.disk import _decode_host, encode_host
from installml.testing.strategies import references, registries, repositories, tags


@given(references())
def test_every_reference_is_parsed_as_it_is_written(reference: Reference) -> None:
    assert Reference.parse(str(reference)) == reference
    location = parse_location(str(reference))
    assert (location.scheme, location.reference) == ("registry", reference)


@given(repositories(), tags())
def test_names_of_the_grammar_are_names(repository: str, tag: str) -> None:
    assert check_repository(repository) == repository
    assert check_tag(tag) == tag


@given(st.one_of(st.text(max_size=40), st.text("aA0./:@-_[] sha256", max_size=60)))
def test_any_text_is_a_reference_that_is_written_as_it_was_read_or_none(text: str) -> None:
    try:
        reference = Reference.parse(text)
    except ReferenceInvalid:
        return
    assert str(reference) == text


@given(references(), st.integers(0, 200), st.sampled_from(list(" \n\t/@:.-_A\x00é")))
def test_a_reference_with_one_character_more_is_another_one_or_none(reference: Reference, at: int, char: str) -> None:
    text = str(reference)
    longer = text[:at] + char + text[at:]
    try:
        assert Reference.parse(longer) != reference
    except ReferenceInvalid:
        pass


@given(registries())
def test_a_host_comes_back_from_its_folder_name(registry: str) -> None:
    name = encode_host(registry)
    assert _decode_host(name) == registry
    assert not set(name) & set(':/\\<>"|?*[]')
