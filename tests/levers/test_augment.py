from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import Arrays, Splits
from pennyweight.engine.making import trained
from pennyweight.jobs import torch_job
from pennyweight.levers.augment import Augment

SIDE = 10


def network():
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * SIDE * SIDE, 2))


def crosses(rows, seed, far):
    """A plus or a times sign, up to `far` pixels off the middle, in noise."""
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    signs = np.zeros((2, SIDE, SIDE), np.float32)
    signs[0, 5, 3:8] = signs[0, 3:8, 5] = 1
    signs[1, range(3, 8), range(3, 8)] = signs[1, range(3, 8), range(7, 2, -1)] = 1
    shift = rng.integers(-far, far + 1, size=(rows, 2))
    x = np.stack([np.roll(signs[label], tuple(by), (0, 1)) for label, by in zip(y, shift, strict=True)])
    return Arrays((x + 0.2 * rng.normal(size=x.shape)).astype(np.float32)[:, None], y)


@pytest.fixture
def job():
    """What is learned from stands in the middle; what is asked does not."""
    parts = Splits(crosses(80, 0, 0), crosses(200, 1, 2), crosses(200, 2, 2))
    return torch_job("signs", network, parts, "accuracy=10%", train=TrainSpec(epochs=30, batch=16, lr=5e-3))


def right(work):
    select = work.data.select
    return (backends.load("torch").predict(work, select.x).argmax(1) == select.y).mean()


def test_shifted_rows_teach_what_fewer_rows_did_not_show(job):
    torch = backends.load("torch")
    asked = trained(torch.open(job))
    changed = trained(Augment(("shift:2",), rows=0.75).pull(torch.open(job)))
    assert len(changed.data.train) == 60
    assert right(changed) > right(asked) + 0.08


def test_the_shares_are_what_is_saved(job):
    flop = count_training(job.spec).flop
    assert count_training(Augment(rows=0.5).rewrite(job.spec)).flop == pytest.approx(flop / 2)
    assert count_training(Augment(epochs=0.5).rewrite(job.spec)).flop == pytest.approx(flop / 2)
    done = Augment(rows=0.5, epochs=0.5).pull(backends.load("torch").open(job))
    assert done.spec.data == Augment(rows=0.5).rewrite(job.spec).data
    assert done.spec.train.epochs == 15


def test_the_same_seed_changes_batches_in_the_same_way(job):
    torch = backends.load("torch")
    one, other = (trained(Augment(("shift", "noise", "mixup")).pull(torch.open(job))) for _ in range(2))
    x = job.material.splits.select.x
    assert np.array_equal(torch.predict(one, x), torch.predict(other, x))


def test_refusals_say_why(job):
    assert "all ways at once" in Augment().fits(Augment().rewrite(job.spec)).reason
    assert "no way 'pitch'" in Augment(("pitch",)).fits(job.spec).reason
    assert "use some of" in Augment(("pitch",)).fits(job.spec).reason
    assert "a share of rows that leaves 20" in Augment(rows=0.1).fits(job.spec).reason
    assert "still to be trained" in Augment().fits(replace(job.spec, form=Form.ESTIMATOR)).reason
