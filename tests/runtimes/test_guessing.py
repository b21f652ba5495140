"""Guesses: what followed last time, or what a smaller model says, of texts that come, go on as they like and leave."""

import numpy as np
import pytest
from llamas import write_llama

from pennyweight.core import ServeSpec
from pennyweight.errors import CorruptError
from pennyweight.runtimes.drafting import ModelDraft
from pennyweight.runtimes.guessing import Begun, NgramDraft
from pennyweight.runtimes.hf.opening import open_hf

CONTEXT, VOCABULARY = 64, 384


class Likeliest:
    """Takes the largest."""

    def guess(self, logits):
        return int(logits.argmax()), None


class Chances:
    """Takes the largest, and says what it could have been."""

    def guess(self, logits):
        wide = np.exp(logits.astype(np.float64) - logits.max())
        return int(logits.argmax()), wide / wide.sum()


def begun(prompt, made, wanted, key=None, chooser=None):
    return Begun(key or object(), np.array(prompt), made, wanted, chooser or Likeliest())


@pytest.mark.parametrize(
    ("prompt", "made", "wanted", "guess"),
    [
        ([1, 2, 3, 4, 9, 1], [2], 3, [3, 4, 9]),
        ([1, 2, 3, 1, 2, 4, 7], [1, 2], 2, [4, 7]),  # the last time counts
        ([5, 1, 2, 3, 8, 1, 2, 4, 5, 1], [2], 2, [3, 8]),  # but more tokens that are the same count more
        ([1, 2], [1, 2], 5, [1, 2, 1, 2, 1]),  # in circles
        ([1, 2, 3], [4], 4, []),
        ([7], [7], 4, []),
        ([1, 2, 1], [2], 0, []),
    ],
)
def test_what_followed_the_same_few_tokens_the_last_time_is_guessed(prompt, made, wanted, guess):
    assert NgramDraft().guess([begun(prompt, made, wanted)])[0].tokens == guess


def test_what_is_known_of_a_growing_text_is_what_a_new_look_finds():
    rng, draft, key = np.random.default_rng(0), NgramDraft(), object()
    prompt, made, found = rng.integers(0, 3, 20), [1], 0
    for _ in range(60):
        guess = draft.guess([begun(prompt, made, 4, key), begun([5, 6], [5], 4)])[0].tokens
        assert guess == NgramDraft().guess([begun(prompt, made, 4)])[0].tokens
        found += bool(guess)
        made.extend(rng.integers(0, 3, rng.integers(1, 4)).tolist())
    assert found > 30


@pytest.fixture(scope="module")
def chorus(tmp_path_factory):
    folder = write_llama(tmp_path_factory.mktemp("draft") / "tiny", layers=1, width=32, context=CONTEXT, noise=1.0)
    return {each: open_hf(folder, ServeSpec(runtime=each))[0] for each in ("torch", "openvino")}


def alone(chorus, text, count):
    """What the model itself goes on with."""
    found = []
    for _ in range(count):
        found.append(int(chorus.prefill([np.array([*text, *found])])[0].argmax()))
    return found


@pytest.mark.parametrize("runtime", ["torch", "openvino"])
def test_a_model_guesses_what_it_says_itself_of_texts_that_come_and_go(chorus, runtime):
    """Each goes on as far as guesses hold, by a word of its own, or by several; some leave, others come in between."""
    model, rng = chorus[runtime], np.random.default_rng(1)
    draft, running, checked = ModelDraft(model, VOCABULARY), {}, 0
    for turn in range(14):
        if turn in {0, 1, 5}:
            for _ in range(2):
                running[object()] = (rng.integers(0, VOCABULARY, rng.integers(1, 12)), [int(rng.integers(VOCABULARY))])
        if turn in {4, 9}:
            del running[next(iter(running))]
        wanted = [int(each) for each in rng.integers(0, 4, len(running))]
        texts = [
            begun(prompt, made, count, key)
            for (key, (prompt, made)), count in zip(running.items(), wanted, strict=True)
        ]
        for text, guess in zip(texts, draft.guess(texts), strict=True):
            if len(text.prompt) + len(text.made) + max(wanted) <= CONTEXT:
                assert guess.tokens == alone(model, [*text.prompt, *text.made], text.wanted)
                checked += len(guess.tokens)
            keep = int(rng.integers(0, len(guess.tokens) + 1))
            text.made.extend([*guess.tokens[:keep], int(rng.integers(VOCABULARY))])
    assert checked > 40


def test_chances_are_told_with_what_was_drawn_from_them(chorus):
    (guess,) = ModelDraft(chorus["openvino"], VOCABULARY).guess([begun([1, 2], [3], 3, chooser=Chances())])
    assert [int(each.argmax()) for each in guess.chances] == guess.tokens
    assert all(abs(each.sum() - 1) < 1e-9 for each in guess.chances)


def test_texts_longer_than_the_drafts_context_are_not_guessed_at(chorus):
    draft = ModelDraft(chorus["openvino"], VOCABULARY)
    long, short = begun([1] * (CONTEXT - 3), [2], 3), begun([1, 2], [3], 3)
    assert [len(each.tokens) for each in draft.guess([long, short])] == [0, 3]


def test_tokens_that_only_the_larger_model_knows_are_neither_guessed_nor_in_the_way(chorus):
    few = 300
    draft = ModelDraft(chorus["openvino"], few)
    (guess,) = draft.guess([begun([few + 50, VOCABULARY + 9], [VOCABULARY + 1], 6)])
    assert len(guess.tokens) == 6
    assert max(guess.tokens) < few


def test_a_draft_that_says_no_numbers_says_so(chorus, monkeypatch):
    told = chorus["torch"].told
    monkeypatch.setattr(chorus["torch"], "told", lambda *fed: (told(*fed)[0] * np.nan, fed[1]))
    with pytest.raises(CorruptError, match="nothing that means anything"):
        ModelDraft(chorus["torch"], VOCABULARY).guess([begun([1, 2], [3], 2)])
