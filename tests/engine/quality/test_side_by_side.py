import numpy as np
import pytest

from pennyweight.engine.quality.scoring import TOP, Memory, check_finite, log_probabilities, side_by_side
from pennyweight.engine.quality.text import Text, encode
from pennyweight.errors import CorruptError, StorageError
from pennyweight.runtimes.hf import open_model, open_tokenizer


@pytest.fixture(scope="module")
def pair(pupils):
    return open_model(pupils / "good"), open_model(pupils / "worse")


@pytest.fixture(scope="module")
def text(pupils):
    return encode([(pupils / "short.txt").read_text()], open_tokenizer(pupils / "good"))


def batches(text):
    return text.batches(64, 32, 384)


def both(text, window=64, stride=32):
    return zip(text.batches(window, stride, 384), text.batches(window, stride, 384), strict=True)


def ignore(_more):
    pass


def test_losses_are_those_of_cross_entropy(pair):
    import torch
    from torch.nn.functional import cross_entropy

    ids = np.random.default_rng(0).integers(6, 380, 40)
    text = Text((ids,), 1)
    scores = side_by_side(pair, both(text), text.scored, ignore)
    for model, losses in zip(pair, (scores.first, scores.second), strict=True):
        logits = model(torch.from_numpy(ids)[None]).logits[0, :-1]
        assert losses == pytest.approx(
            cross_entropy(logits, torch.from_numpy(ids[1:]), reduction="none").numpy(), rel=1e-5
        )


def test_windows_change_only_what_stands_before_a_token(pair, text):
    whole = side_by_side(pair, both(text, 256, 1), text.scored, ignore)
    strided = side_by_side(pair, both(text, 256, 128), text.scored, ignore)
    assert whole.first[:256] == pytest.approx(strided.first[:256], rel=1e-4)
    assert whole.first.mean() == pytest.approx(strided.first.mean(), rel=0.02)


def test_divergence_is_that_of_the_whole_distributions(pair, text):
    scores = side_by_side(pair, both(text), text.scored, ignore)
    batch = next(batches(text))
    ours, theirs = (log_probabilities(model, batch.ids, batch.targets.shape[1]).double() for model in pair)
    wanted = (ours.exp() * (ours - theirs)).sum(-1).numpy().ravel()
    assert scores.divergence[batch.at.ravel()] == pytest.approx(wanted, rel=1e-3, abs=1e-6)
    assert scores.divergence.mean() > 0.05
    assert 0.05 < scores.agree.mean() < 0.99


def test_one_after_the_other_gives_the_same_losses_and_no_larger_divergence(pair, text, tmp_path):
    beside = side_by_side(pair, both(text), text.scored, ignore)
    memory = Memory(tmp_path, text.scored, 384)
    memory.listen(pair[0], batches(text), ignore)
    after = memory.beside(pair[1], batches(text), ignore)
    assert (after.first == beside.first).all()
    assert (after.second == beside.second).all()
    assert (after.agree == beside.agree).all()
    assert (after.divergence <= beside.divergence + 1e-5).all()
    assert after.divergence.mean() > 0.5 * beside.divergence.mean()
    assert not after.exact


def test_a_small_vocabulary_is_kept_whole(tmp_path):
    assert Memory(tmp_path, 3, TOP)._whole
    assert not Memory(tmp_path, 3, TOP + 1)._whole


def test_tokens_that_neither_can_say_are_no_divergence(pupils, text, tmp_path):
    import torch

    never = open_model(pupils / "good")
    bias = torch.zeros(384)
    bias[1] = -torch.inf
    never.lm_head.register_forward_hook(lambda _module, _given, said: said + bias)
    assert not (text.documents[0] == 1).any()
    assert abs(side_by_side((never, never), both(text), text.scored, ignore).divergence).max() == 0
    memory = Memory(tmp_path, text.scored, 384)
    memory._shape, memory._whole = (text.scored, 384), True
    memory._names, memory._logs = np.zeros((text.scored, 384), np.int64), np.zeros((text.scored, 384), np.float32)
    memory.listen(never, batches(text), ignore)
    assert abs(memory.beside(never, batches(text), ignore).divergence).max() < 1e-6


def test_more_than_the_disk_holds_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(StorageError, match="What the first model says takes"):
        Memory(tmp_path, 10**14, 384)


def test_a_model_beside_itself_is_nowhere_apart(pair, text, tmp_path):
    scores = side_by_side((pair[0], pair[0]), both(text), text.scored, ignore)
    assert (scores.first == scores.second).all()
    assert abs(scores.divergence).max() == 0
    memory = Memory(tmp_path, text.scored, 384)
    memory.listen(pair[0], batches(text), ignore)
    assert abs(memory.beside(pair[0], batches(text), ignore).divergence).max() < 1e-6


def test_numbers_that_are_not_finite_are_refused_by_the_name_of_the_model(pupils, text):
    import torch

    broken = open_model(pupils / "good")
    with torch.no_grad():
        broken.lm_head.weight.fill_(torch.nan)
    scores = side_by_side((open_model(pupils / "good"), broken), both(text), text.scored, ignore)
    with pytest.raises(CorruptError, match="second answers with numbers that are not finite"):
        check_finite(scores, ("first", "second"))
