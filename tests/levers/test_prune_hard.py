from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.jobs import torch_job
from pennyweight.levers.prune_hard import PruneHard
from pennyweight.train.hardness import MEASURES, hardness


def mlp():
    from torch import nn

    return nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2))


@pytest.fixture
def job():
    """Points left and right of a line, a class each; how far from the line is how easy."""
    x = np.random.default_rng(0).normal(size=(500, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int64)
    return torch_job("line", mlp, split(x, y), "accuracy=10%", train=TrainSpec(epochs=30, batch=32, lr=0.01))


@pytest.mark.parametrize("measure", MEASURES)
def test_rows_near_the_border_are_the_hard_ones(job, measure):
    work = backends.load("torch").open(job)
    hard = PruneHard(0.4, measure=measure, epochs=5.0).pull(work).data.train.x
    easy = PruneHard(0.4, "easy", measure, epochs=5.0).pull(work).data.train.x
    assert np.abs(hard[:, 0]).mean() < 0.6 * np.abs(easy[:, 0]).mean()


def test_the_middle_lies_between(job):
    work = backends.load("torch").open(job)
    keeps = ("hard", "middle", "easy")
    far = [np.abs(PruneHard(0.4, keep, epochs=5.0).pull(work).data.train.x[:, 0]).mean() for keep in keeps]
    assert far == sorted(far)


def test_a_row_with_a_wrong_label_is_the_hardest(job):
    work = backends.load("torch").open(job)
    train = work.data.train
    wrong = int(np.argmax(train.x[:, 0]))
    y = train.y.copy()
    y[wrong] = 0
    rest = work.data
    work = work.having(data=Splits(Arrays(train.x, y), rest.select, rest.certify))
    for measure in ("el2n", "loss", "forgetting"):
        assert np.argmax(hardness(work, measure, 5.0)) == wrong


def test_looking_is_paid_for_on_paper_and_in_reality(job):
    lever = PruneHard(0.5, epochs=3.0)
    paper, asked = lever.rewrite(job.spec), job.spec
    assert paper.data.looked == 3 * asked.data.rows
    assert count_training(paper).flop == pytest.approx(count_training(asked).flop * (0.5 + 0.1))
    done = lever.pull(backends.load("torch").open(job))
    assert done.spec.data == replace(paper.data, duplicates=done.spec.data.duplicates)
    assert len(done.data.train) == paper.data.rows


def test_values_and_sequences_have_a_hardness_too():
    from pennyweight.testing import gpt_job

    text = backends.load("torch").open(gpt_job())
    hard = hardness(text, "el2n", 1.0)
    assert hard.shape == (len(text.data.train),)
    x = np.random.default_rng(1).normal(size=(200, 2)).astype(np.float32)
    y = x.sum(axis=1)
    y[7] += 30

    def one():
        from torch import nn

        return nn.Linear(2, 1)

    values = torch_job(
        "values", one, Splits(Arrays(x, y), Arrays(x[:40] + 1, y[:40]), Arrays(x[40:] - 1, y[40:])), "r2=10%"
    )
    assert np.argmax(hardness(backends.load("torch").open(values), "loss", 1.0)) == 7


def test_refusals_say_why(job):
    assert "as long as is saved" in PruneHard(0.9, epochs=5.0).fits(job.spec).reason
    assert "leaves at least" in PruneHard(0.01).fits(job.spec).reason
    assert "hard, easy, middle" in PruneHard(0.5, "best").fits(job.spec).reason
    assert "still to be trained" in PruneHard().fits(replace(job.spec, form=Form.ESTIMATOR)).reason
