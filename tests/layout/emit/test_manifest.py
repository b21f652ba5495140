import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pennyweight.errors import BadInputError
from pennyweight.layout.emit.manifest import documents

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner), max_leaves=20)
LINES = st.lists(st.text(st.sampled_from("ab #:-'\"{}[]|>\\&*é\u2028\x85"))).map(lambda lines: "\n".join(lines) + "\n")


@given(st.lists(st.dictionaries(TEXT, VALUES, min_size=1), min_size=1, max_size=3))
def test_what_is_written_is_what_is_read(values):
    assert list(yaml.safe_load_all(documents(values))) == values


@given(LINES)
def test_scripts_come_back_as_they_were(text):
    assert yaml.safe_load(documents([{"run": text, "list": [text], "after": 1}])) == {
        "run": text,
        "list": [text],
        "after": 1,
    }


def test_scripts_can_be_read_by_people():
    assert (
        documents([{"run": "echo 'a: b'\n  indented # no comment\n"}])
        == "run: |\n  echo 'a: b'\n    indented # no comment\n"
    )


@pytest.mark.parametrize(
    "word", ["yes", "no", "null", "1.5", "0x10", "2026-11-22", "~", "*a", "- a", "a: b", "1_000", "!!python/object:x"]
)
def test_no_text_is_taken_for_anything_else(word):
    assert yaml.safe_load(documents([{word: [word]}])) == {word: [word]}


def test_half_a_character_is_refused():
    with pytest.raises(BadInputError, match="half a character"):
        documents([{"a": "\ud800"}])
