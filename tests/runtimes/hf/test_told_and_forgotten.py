"""Several tokens of each text told at once, and forgotten again: nothing of them is left, in torch and on pages."""

from itertools import starmap

import numpy as np
import pytest
from llamas import write_llama

from pennyweight.core import ServeSpec
from pennyweight.errors import BadInputError
from pennyweight.runtimes.hf import open_model
from pennyweight.runtimes.hf.chorus import TorchChorus
from pennyweight.runtimes.hf.opening import open_hf

CONTEXT, VOCABULARY = 96, 384


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_llama(tmp_path_factory.mktemp("checking") / "tiny", context=CONTEXT, noise=1.0)


@pytest.fixture(scope="module", params=["torch", "openvino"])
def chorus(request, folder):
    return open_hf(folder, ServeSpec(runtime=request.param))[0]


def tokens(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, size) for size in lengths]


def after_each(chorus, text, begin):
    """What follows each token of a text from `begin` on, the text read from the start for every one."""
    return np.concatenate([chorus.prefill([text[: end + 1]])[0] for end in range(begin, len(text))])


def test_what_follows_each_of_several_tokens_is_what_follows_them_one_by_one(chorus):
    texts, more = tokens(5, 33, 31, 1), tokens(4, 1, 2, 6, seed=1)
    _, memory = chorus.prefill(texts)
    logits, _ = chorus.told(more, memory)
    wanted = [after_each(chorus, np.append(a, b), len(a)) for a, b in zip(texts, more, strict=True)]
    assert np.abs(logits - np.concatenate(wanted)).max() < 1e-4


@pytest.mark.parametrize("counts", [(3, 0, 1, 5), (0, 0, 0, 0), (2, 1, 2, 2), (3, 0, 1, 0)], ids=str)
def test_tokens_that_are_forgotten_were_never_read(chorus, counts):
    texts, more, others = tokens(5, 33, 31, 1), tokens(4, 1, 2, 6, seed=1), tokens(2, 1, 3, 1, seed=2)
    _, before = chorus.prefill(texts)
    _, memory = chorus.told(more, before)
    memory = chorus.forget(memory, counts)
    left = [np.append(a, b[: len(b) - n]) for a, b, n in zip(texts, more, counts, strict=True)]
    logits, memory = chorus.told(others, memory)
    wanted = [after_each(chorus, np.append(a, b), len(a)) for a, b in zip(left, others, strict=True)]
    assert np.abs(logits - np.concatenate(wanted)).max() < 1e-4
    told, _ = chorus.step(np.array([7, 8, 9, 10]), memory)
    whole = [np.concatenate([a, b, [n]]) for a, b, n in zip(left, others, (7, 8, 9, 10), strict=True)]
    assert np.abs(told - chorus.prefill(whole)[0]).max() < 1e-4
    first, _ = chorus.step(np.array([1, 2, 3, 4]), before)  # what was known before is what it was
    again = list(starmap(np.append, zip(texts, (1, 2, 3, 4), strict=True)))
    assert np.abs(first - chorus.prefill(again)[0]).max() < 1e-4


def test_who_joins_and_leaves_after_something_was_forgotten_changes_nothing(chorus):
    texts, fresh = tokens(40, 3, 12, seed=3), tokens(50, seed=4)
    _, memory = chorus.prefill(texts)
    _, memory = chorus.told(tokens(5, 2, 3, seed=5), memory)
    memory = chorus.forget(memory, (5, 0, 3))
    _, joined = chorus.prefill(fresh)
    memory = chorus.gather([(memory, [2, 0]), (joined, [0])])
    logits, _ = chorus.step(np.array([1, 2, 3]), memory)
    whole = list(starmap(np.append, zip((texts[2], texts[0], fresh[0]), (1, 2, 3), strict=True)))
    assert np.abs(logits - chorus.prefill(whole)[0]).max() < 1e-4


def test_to_the_end_of_the_context_and_no_further(chorus):
    (text,) = tokens(CONTEXT, seed=6)
    _, memory = chorus.prefill([text[:90], text[:10]])
    logits, _ = chorus.told([text[90:], text[10:11]], memory)
    assert np.abs(logits[5] - chorus.prefill([text])[0]).max() < 1e-4
    assert np.abs(logits[6] - chorus.prefill([text[:11]])[0]).max() < 1e-4
    _, memory = chorus.prefill([text[:90], text[:10]])
    with pytest.raises(BadInputError, match="cannot go on"):
        chorus.told([text[:7], text[:1]], memory)


def test_learned_positions_do_not_run_out_where_others_have_more_tokens(tmp_path):
    folder = write_llama(tmp_path / "gpt2", family="gpt2", context=32, noise=1.0)
    chorus = TorchChorus(open_model(folder), 32)
    (text,) = tokens(32, seed=7)
    _, memory = chorus.prefill([text[:31], text[:3]])
    logits, memory = chorus.told([text[31:], text[3:9]], memory)
    assert np.abs(logits[0] - chorus.prefill([text])[0]).max() < 1e-4
    assert np.abs(logits[-1] - chorus.prefill([text[:9]])[0]).max() < 1e-4
