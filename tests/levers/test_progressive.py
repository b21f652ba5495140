from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Floor, Form, Slack, TeamSpec, TrainSpec
from pennyweight.cost.count import count_training
from pennyweight.data.splits import split
from pennyweight.engine.making import trained
from pennyweight.errors import UntraceableError
from pennyweight.jobs import torch_job
from pennyweight.levers.progressive import Progressive
from pennyweight.testing import LAWS, cnn_job, gpt_job, mlp_job

SIDE = 12


def images_of_any_size():
    from torch import nn

    body = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


@pytest.fixture(scope="module")
def images():
    """Bright images and dark ones."""
    y = np.arange(240) % 2
    x = np.random.default_rng(0).normal(size=(240, 1, SIDE, SIDE)) + y[:, None, None, None]
    return torch_job(
        "bright", images_of_any_size, split(x.astype(np.float32), y), "accuracy=20%", train=TrainSpec(4, 32)
    )


def shapes_met(job, lever):
    """The shapes of the inputs of every step of training."""
    work = lever.pull(backends.load("torch").open(job))
    met = []
    work.model.register_forward_pre_hook(lambda model, given: met.append(given[0].shape) if model.training else None)
    from pennyweight.train.loop import How, fit

    fit(work.model, work.data.train, work.spec.train, how=How(task=work.spec.data.task))
    return met


def test_sequences_are_short_for_the_share_of_steps_and_then_whole():
    met = [tuple(shape)[1] for shape in shapes_met(gpt_job(), Progressive(0.75, 0.5))]
    steps = len(met)
    assert met == [6] * round(0.75 * steps) + [12] * (steps - round(0.75 * steps))


def test_images_are_small_for_the_share_of_steps_and_then_whole(images):
    met = [tuple(shape)[2:] for shape in shapes_met(images, Progressive(0.5, 0.5))]
    half = len(met) // 2
    assert met == [(6, 6)] * half + [(SIDE, SIDE)] * (len(met) - half)


def test_windows_begin_anywhere_and_labels_move_with_them():
    import torch

    from pennyweight.core import Task
    from pennyweight.train.objective import Batch
    from pennyweight.train.smaller import smaller

    x = torch.arange(24).view(2, 12)
    settings = TrainSpec(small=0.5, size=0.5)
    starts = set()
    for seed in range(60):
        torch.manual_seed(seed)
        cut = smaller(Batch(x, x + 1), settings, Task.LANGUAGE, 0.0)
        assert torch.equal(cut.y, cut.x + 1)
        starts.add(int(cut.x[0, 0]))
    assert starts == set(range(7))
    assert smaller(Batch(x, x + 1), settings, Task.LANGUAGE, 0.5).x is x


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_law_holds_for_images(law, images):
    law(Progressive, (images,))


def test_paper_knows_what_the_operators_cost_on_the_small_rows(images):
    """What is counted for the first steps is what a network on images of that size is counted at."""
    half = torch_job(
        "half",
        images_of_any_size,
        split(np.random.default_rng(1).normal(size=(240, 1, 6, 6)).astype(np.float32), np.arange(240) % 2),
        "accuracy=20%",
        train=TrainSpec(4, 32),
    )
    whole, small = count_training(images.spec).flop, count_training(half.spec).flop
    assert count_training(Progressive(0.5, 0.5).rewrite(images.spec)).flop == pytest.approx(
        (whole + small) / 2, rel=0.02
    )


def test_looking_for_rows_is_counted_at_full_size():
    spec = gpt_job().spec
    looked = replace(spec, data=replace(spec.data, looked=100.0))
    extra = count_training(looked).flop - count_training(spec).flop
    lever = Progressive(0.5, 0.5)
    assert count_training(lever.rewrite(looked)).flop - count_training(lever.rewrite(spec)).flop == pytest.approx(extra)


def test_it_is_trained_in_the_same_number_of_steps_and_learns():
    work = backends.load("torch").open(gpt_job())
    done = trained(Progressive(0.5, 0.5).pull(work))
    assert done.spec.train.epochs == pytest.approx(gpt_job().spec.train.epochs)
    assert done.model(__import__("torch").from_numpy(work.data.select.x[:3])).shape == (3, 12, 16)


def test_a_network_for_one_length_is_refused_when_it_is_tried():
    from torch import nn

    class Fixed(nn.Module):
        """Adds a place to every token, of which there must be twelve."""

        def __init__(self):
            super().__init__()
            import torch

            self.tokens, self.head = nn.Embedding(16, 8), nn.Linear(8, 16)
            self.places = nn.Parameter(torch.zeros(12, 8))

        def forward(self, x):
            return self.head(self.tokens(x) + self.places)

    job = torch_job("fixed", Fixed, gpt_job().material.splits, Floor("perplexity", 0.2, Slack.RATIO))
    assert Progressive().fits(job.spec)
    with pytest.raises(UntraceableError, match="one size only"):
        Progressive().pull(backends.load("torch").open(job))


def test_refusals_say_why():
    spec = gpt_job().spec
    assert "already" in Progressive().fits(Progressive().rewrite(spec)).reason
    assert "between 0 and 1" in Progressive(1.0).fits(spec).reason
    assert "larger size" in Progressive(0.5, 0.1).fits(spec).reason
    assert "one size only" in Progressive().fits(mlp_job().spec).reason
    assert "one size only" in Progressive().fits(cnn_job().spec).reason
    assert "still to be trained" in Progressive().fits(replace(spec, form=Form.GRAPH)).reason
    served = replace(spec, train=replace(spec.train, team=TeamSpec(2, "async:4")))
    assert "parameter server" in Progressive().fits(served).reason
