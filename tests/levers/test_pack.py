import sysconfig
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Floor, Form, Slack, Task, TeamSpec, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import Arrays, Splits
from pennyweight.data.texts import PADDING, best_fit, joined, lengths, padded
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError, UntraceableError
from pennyweight.jobs import torch_job
from pennyweight.levers.pack import Pack
from pennyweight.testing import gpt_job, mlp_job, notes_job, tiny_gpt
from pennyweight.train.how import How
from pennyweight.train.loop import fit
from pennyweight.train.objective import Objective
from pennyweight.train.rows import tensors

WIDE = 96  # places in a row


def notes(many=1500):
    """Lines of Python's library as texts of characters, padded: short and long ones, as messages are."""
    text = Path(sysconfig.get_path("stdlib"), "argparse.py").read_text(encoding="utf-8")
    lines = [line.strip() for line in text.splitlines() if len(line.strip()) > 4][:many]
    alphabet = {char: code for code, char in enumerate(sorted(set("".join(lines)) | {"\n"}))}
    texts = [np.array([alphabet[char] for char in line + "\n"]) for line in lines]
    return texts, len(alphabet)


def char_gpt(vocabulary):
    from recipes.char_gpt import CharGPT, Shape

    return lambda: CharGPT(Shape(vocabulary, layers=1, heads=2, width=32, context=WIDE))


@pytest.fixture(scope="module")
def lines():
    texts, vocabulary = notes()
    rows = padded(texts, WIDE)
    cut = len(rows) // 5
    parts = Splits(rows.take(slice(2 * cut, None)), rows.take(slice(cut)), rows.take(slice(cut, 2 * cut)))
    settings = TrainSpec(1, 32, "adamw", lr=3e-3)
    return torch_job("lines", char_gpt(vocabulary), parts, Floor("perplexity", 0.2, Slack.RATIO), train=settings)


def texts_of(rows):
    """The texts in rows, as (tokens, next tokens), whatever row they are in."""
    found = []
    numbers = np.zeros_like(rows.y) if rows.texts is None else rows.texts
    for x, y, number in zip(rows.x, rows.y, numbers, strict=True):
        for name in np.unique(number):
            real = (number == name) & (y >= 0)
            found += [(tuple(x[real]), tuple(y[real]))] if real.any() else []
    return sorted(found)


def test_no_text_is_lost_cut_or_doubled(lines):
    train = lines.material.splits.train
    assert texts_of(joined(train)) == texts_of(train)


def test_rows_are_filled_and_training_is_counted_for_as_many_fewer(lines):
    work = backends.load("torch").open(lines)
    done = Pack().pull(work)
    paper, asked = Pack().rewrite(lines.spec), lines.spec
    assert asked.data.padding > 0.4
    assert done.spec.data.padding < 0.05
    assert paper.data.rows == done.spec.data.rows == len(done.data.train)
    assert paper.data.padding == pytest.approx(done.spec.data.padding, abs=0.01)
    share = count_training(paper).flop / count_training(asked).flop
    assert share == pytest.approx(asked.data.joins, rel=0.01)
    assert share < 0.65


def test_a_mini_batch_holds_as_many_texts_as_before(lines):
    done = Pack().pull(backends.load("torch").open(lines))
    steps = [spec.data.rows / spec.train.batch for spec in (lines.spec, done.spec)]
    assert steps[1] == pytest.approx(steps[0], rel=0.05)


def test_a_text_is_answered_as_if_it_were_alone(lines):
    """Logits, and so gradients, are those of the padded row: nothing is seen across texts, places begin anew."""
    import torch

    train = lines.material.splits.train.take(slice(60))
    model = char_gpt(lines.spec.data.classes)()
    whole, short = (tensors(model, rows, Task.LANGUAGE) for rows in (train, joined(train)))
    losses = []
    for rows in (whole, short):
        model.zero_grad()
        loss = Objective(Task.LANGUAGE).mixed(model(*rows.given), rows)
        loss.backward()
        losses.append((float(loss.detach()), torch.cat([each.grad.flatten() for each in model.parameters()])))
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-5)
    assert torch.allclose(losses[0][1], losses[1][1], atol=1e-6)


def test_without_the_numbers_of_texts_the_answers_would_be_others(lines):
    import torch

    short = joined(lines.material.splits.train.take(slice(60)))
    model = char_gpt(lines.spec.data.classes)()
    rows = tensors(model, short, Task.LANGUAGE)
    with torch.no_grad():
        assert not torch.allclose(model(rows.x), model(*rows.given), atol=1e-3)


def test_the_network_learns_as_much_from_fewer_rows():
    work = backends.load("torch").open(notes_job())
    padded_loss, packed_loss = (_loss(trained(each)) for each in (work, Pack().pull(work)))
    assert packed_loss == pytest.approx(padded_loss, abs=0.1)
    assert packed_loss < np.log(16) - 0.5


def test_a_token_stands_between_texts_for_a_network_that_knows_no_texts(lines):
    from torch import nn

    vocabulary = lines.spec.data.classes
    job = replace(lines, material=replace(lines.material, make_model=lambda: plain(nn, vocabulary)))
    work = backends.load("torch").open(job)
    done = Pack().pull(work)
    train, newline = done.data.train, 0
    assert train.texts is None
    assert abs(len(train) / Pack().rewrite(lines.spec).data.rows - 1) < Pack.trust
    after = (train.y[:, :-1] == newline) & (train.x[:, 1:] == newline)
    assert after.sum() > len(work.data.train) - 2 * len(train)
    assert (train.y[:, 1:][after] == PADDING).all()
    trained(done)


def plain(nn, vocabulary):
    return nn.Sequential(nn.Embedding(vocabulary, 8), nn.Linear(8, vocabulary))


def test_texts_that_nothing_tells_apart_need_a_separator():
    from torch import nn

    parts = notes_job().material.splits
    job = torch_job("plain", lambda: plain(nn, 16), parts, Floor("perplexity", 0.3, Slack.RATIO))
    work = backends.load("torch").open(job)
    with pytest.raises(UntraceableError, match="separator"):
        Pack().pull(work)
    done = Pack(separator=15).pull(work)
    assert len(done.data.train) < len(work.data.train)


def test_best_fit_needs_hardly_more_rows_than_there_are_places():
    sizes = np.random.default_rng(0).integers(3, 60, 5000)
    rows = best_fit(sizes, 100)
    assert sorted(chain.from_iterable(rows)) == list(range(5000))
    assert max(sum(sizes[text] for text in row) for row in rows) <= 100
    assert len(rows) <= 1.02 * np.ceil(sizes.sum() / 100)


def test_labels_within_a_text_may_be_left_out():
    y = np.array([[-1, -1, 3, 4, -1, -1], [2, 2, 2, 2, 2, 2], [5, -1, 5, -1, -1, -1]])
    assert lengths(y).tolist() == [4, 6, 3]
    short = joined(Arrays(np.ones_like(y), y))
    assert (short.y >= 0).sum() == (y >= 0).sum()


def test_training_on_padding_changes_nothing():
    """More room behind every text gives the same network."""
    texts, _ = notes(120)
    codes = [text % 16 for text in texts]
    weights = []
    for room in (11, 12):
        rows = padded([text[:12] for text in codes], room)
        done = fit(tiny_gpt_of(0), rows, TrainSpec(1, 16, "sgd", lr=0.1), how=How(task=Task.LANGUAGE))
        weights.append(np.concatenate([each.detach().numpy().ravel() for each in done.model.parameters()]))
    assert weights[0] == pytest.approx(weights[1], abs=1e-5)


def tiny_gpt_of(seed):
    import torch

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        return tiny_gpt()


def test_refusals_say_why():
    spec = notes_job().spec
    assert "no padding" in Pack().fits(gpt_job().spec).reason
    assert "only a language model" in Pack().fits(mlp_job().spec).reason
    assert "only a language model" in Pack().fits(replace(spec, form=Form.GRAPH)).reason
    assert "no token 16" in Pack(separator=16).fits(spec).reason
    assert "too long" in Pack().fits(replace(spec, data=replace(spec.data, joins=0.99))).reason
    served = replace(spec, train=replace(spec.train, team=TeamSpec(2, "async:4")))
    assert "parameter server" in Pack().fits(served).reason
    work = backends.load("torch").open(notes_job())
    heavy = replace(work.data.train, weight=np.ones(len(work.data.train)))
    with pytest.raises(BadInputError, match="cannot be joined"):
        Pack().pull(work.having(data=replace(work.data, train=heavy)))
    full = gpt_job().material.splits
    with pytest.raises(NoEffectError):
        Pack().pull(work.having(data=full))
    with pytest.raises(BadInputError, match="two tokens"):
        padded([np.array([1])], 8)


def _loss(work):
    import torch

    rows = work.data.select
    with torch.no_grad():
        out = work.model(torch.from_numpy(rows.x)).flatten(0, 1)
    return float(torch.nn.functional.cross_entropy(out, torch.from_numpy(rows.y).flatten()))
