import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llamas import tokenizer

from pennyweight.engine.quality.text import Text, encode, read
from pennyweight.errors import BadInputError


@given(
    st.lists(st.integers(2, 90), min_size=1, max_size=6),
    st.integers(2, 40).flatmap(lambda window: st.tuples(st.just(window), st.integers(1, window))),
)
def test_each_token_is_scored_once_after_as_much_as_there_is_room_for(sizes, windows):
    window, stride = windows
    documents = tuple(np.arange(size) + 1000 * at for at, size in enumerate(sizes))
    text = Text(documents, 1)
    flat = np.concatenate([each[1:] for each in documents])
    seen = np.zeros(text.scored, int)
    for batch in text.batches(window, stride, 1):
        rows, kept = batch.targets.shape
        assert batch.ids.shape[1] <= window
        for row in range(rows):
            seen[batch.at[row]] += 1
            assert (flat[batch.at[row]] == batch.targets[row]).all()
            assert (batch.ids[row, -kept:] + 1 == batch.targets[row]).all()
            before = batch.ids[row, 0] % 1000
            left = batch.ids.shape[1] - kept + 1
            assert before == 0 or left > window - stride
    assert (seen == 1).all()
    assert text.owners.tolist() == np.repeat(np.arange(len(sizes)), np.array(sizes) - 1).tolist()


def test_batches_grow_no_larger_than_their_scores_allow():
    text = Text((np.arange(5000),), 1)
    wide = max(batch.ids.shape[0] for batch in text.batches(64, 32, 1 << 20))
    narrow = max(batch.ids.shape[0] for batch in text.batches(64, 32, 100))
    assert wide == 1
    assert narrow == 8


def test_bytes_are_those_of_what_is_scored():
    text = encode(["Wörter sind schwer", "x"], tokenizer())
    assert len(text.documents) == 1
    assert text.byte == len("Wörter sind schwer".encode()) - 1


def test_a_tokenizer_that_begins_texts_has_the_first_token_scored_too():
    from tokenizers.processors import TemplateProcessing

    begins = tokenizer()
    begins.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", begins.bos_token_id)]
    )
    plain, marked = encode(["the mill"], tokenizer()), encode(["the mill"], begins)
    assert marked.scored == plain.scored + 1
    assert marked.byte == len("the mill")
    assert marked.documents[0][0] == begins.bos_token_id


def test_no_more_tokens_are_scored_than_were_asked_for():
    text = encode(["the mill stood by the river"] * 3, tokenizer(), most=13)
    assert sum(map(len, text.documents)) == 13


def test_a_file_is_a_document_and_so_is_each_line_of_a_jsonl(tmp_path):
    (tmp_path / "a.txt").write_text("one\ntwo\n")
    (tmp_path / "b.jsonl").write_text("".join(json.dumps({"text": each}) + "\n" for each in ("three", "", "four")))
    assert read([tmp_path / "a.txt", tmp_path / "b.jsonl"]) == ["one\ntwo\n", "three", "four"]


def test_a_text_that_is_there_twice_counts_once(tmp_path):
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.jsonl").write_text('{"text": "one"}\n{"text": "two"}\n{"text": "two"}\n')
    assert read([tmp_path / "a.txt", tmp_path / "b.jsonl", tmp_path / "a.txt"]) == ["one", "two"]


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("a.jsonl", b'{"text": "a"}\n\n{"texts": "b"}', 'Line 3 of .* has no "text"'),
        ("a.jsonl", b'{"text": "a"}\n{', "Line 2 of .* is not JSON"),
        ("a.jsonl", b"[1]", "Line 1 of .* does not hold one object"),
        ("a.txt", b"\xff\xfe", "is not UTF-8"),
        ("a.txt", b"", "no text to score"),
    ],
)
def test_what_is_no_text_is_said(tmp_path, name, body, said):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(BadInputError, match=said):
        read([tmp_path / name])
    with pytest.raises(BadInputError, match="There is no file"):
        read([tmp_path / "nothing.txt"])
    with pytest.raises(BadInputError, match="no document has two tokens"):
        encode(["x"], tokenizer())
