"""Byte-pair tokenizers: any text comes back, equal texts give equal tokenizers, and what cannot be is said."""

import subprocess
import sys

import numpy as np
import pytest
from tokenizers import Tokenizer

from pennyweight.data.byte_pairs import END, bits_per_byte, encoded, learn_pairs
from pennyweight.errors import BadInputError

TEXT = "".join(f"weigh {n} grains, and {n * 7} pennyweights of silver\n\n" for n in range(400))
SIZE = 300


def test_any_text_comes_back_as_it_was():
    made = learn_pairs(TEXT, SIZE)
    for text in (TEXT[:500], "  Ünïcödé 🪙\t\r\n\n 銀", "\x00\x7f", f"a{END}b"):
        tokens = encoded(made, text)
        assert Tokenizer.from_str(made).decode(tokens.tolist(), skip_special_tokens=False) == text
        assert tokens.max() < SIZE


def test_what_occurs_often_becomes_one_token_and_the_end_is_token_zero():
    made = learn_pairs(TEXT, SIZE)
    assert len(encoded(made, " pennyweights")) < len(" pennyweights") / 2
    assert encoded(made, END).tolist() == [0]
    assert Tokenizer.from_str(made).get_vocab_size() == SIZE


def test_another_process_learns_the_same_to_the_byte():
    program = "import sys; from pennyweight.data.byte_pairs import learn_pairs; print(learn_pairs(sys.argv[1], 300))"
    command = [sys.executable, "-c", program, TEXT]
    told = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "7"})
    assert told.stdout.removesuffix("\n") == learn_pairs(TEXT, SIZE)


def test_a_text_with_too_few_pairs_and_a_vocabulary_without_room_for_bytes_are_refused():
    with pytest.raises(BadInputError, match="4000 are asked for"):
        learn_pairs("one two three", 4000)
    with pytest.raises(BadInputError, match="no room for every byte"):
        learn_pairs(TEXT, 256)


def test_bits_per_byte_do_not_depend_on_the_tokenizer():
    fine, coarse = learn_pairs(TEXT, 258), learn_pairs(TEXT, SIZE)
    bits = 1234.5  # that some model needs for the whole text
    told = []
    for made in (fine, coarse):
        tokens = encoded(made, TEXT)
        told.append(bits_per_byte(made, tokens, 2 ** (bits / tokens.size)))
    assert told == pytest.approx([bits / len(TEXT)] * 2)
    assert len(encoded(fine, TEXT)) > len(encoded(coarse, TEXT))
    assert bits_per_byte(coarse, np.array([[65, 66], [67, 68]]), 4.0) == pytest.approx(2.0)
