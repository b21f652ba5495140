from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Form, TrainSpec
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.errors import UntraceableError
from pennyweight.jobs import torch_job
from pennyweight.levers.normalize import Normalize
from pennyweight.levers.reduce import Reduce
from pennyweight.testing import LAWS, cnn_job, gpt_job, mlp_job

SIDE = 16


def images_of_any_size():
    from torch import nn

    body = (nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


def perceptron():
    from torch import nn

    return nn.Sequential(nn.Linear(30, 40), nn.ReLU(), nn.Linear(40, 2))


@pytest.fixture(scope="module")
def images():
    """Bright images and dark ones."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 2
    x = rng.normal(size=(240, 1, SIDE, SIDE)) + y[:, None, None, None]
    return torch_job(
        "bright", images_of_any_size, split(x.astype(np.float32), y), "accuracy=20%", train=TrainSpec(2, 32)
    )


@pytest.fixture
def wide():
    """Thirty columns that are three hidden ones, mixed, at sizes far apart, with a little noise."""
    rng = np.random.default_rng(1)
    hidden = rng.normal(size=(400, 3))
    x = hidden @ rng.normal(size=(3, 30)) + 0.01 * rng.normal(size=(400, 30))
    x = 5 + x * np.where(np.arange(30) % 2, 1000, 1)
    y = (hidden[:, 0] > 0).astype(np.int64)
    train = TrainSpec(10, 32, lr=0.01)
    return torch_job("wide", perceptron, split(x.astype(np.float32), y), "accuracy=20%", train=train)


def inside(model, x):
    """What the layer behind the projection is given."""
    import torch

    with torch.no_grad():
        return model.get_submodule("0.0")(torch.from_numpy(np.array(x))).numpy()


def test_the_components_are_uncorrelated_centred_and_of_unit_size(wide):
    done = Reduce(0.1).pull(backends.load("torch").open(wide))
    given = inside(done.model, done.data.train.x)
    assert given.shape == (len(done.data.train), 3)
    assert np.abs(given.mean(axis=0)).max() < 1e-3
    assert (given**2).mean() == pytest.approx(1, rel=0.02)
    spread = np.cov(given, rowvar=False)
    assert np.abs(spread - np.diag(np.diag(spread))).max() < 1e-2
    assert list(np.diag(spread)) == sorted(np.diag(spread), reverse=True)


def test_three_components_of_thirty_columns_tell_all_that_there_is_to_tell(wide):
    from pennyweight.engine.making import trained

    done = trained(Reduce(0.1).pull(backends.load("torch").open(wide)))
    answers = backends.load("torch").predict(done, done.data.select.x).argmax(1)
    assert (answers == done.data.select.y).mean() > 0.9


def test_rows_of_any_part_go_in_as_they_are(wide):
    work = backends.load("torch").open(wide)
    done = Reduce(0.25).pull(work)
    assert done.data is work.data
    assert backends.load("torch").predict(done, work.data.certify.x).shape == (len(work.data.certify), 2)


def test_it_finds_the_first_layer_behind_a_scaler(wide):
    backend = backends.load("torch")
    scaled = Normalize(0.5).pull(backend.open(wide))
    lever = Reduce(0.25)
    assert lever.fits(scaled.spec)
    done = lever.pull(scaled)
    assert backend.table(done) == done.spec.ops


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_every_law_holds_for_images_of_half_the_size(law, images):
    assert Reduce(0.5).fits(images.spec)
    law(Reduce, (images,))


def test_a_pixel_of_the_small_image_is_the_mean_of_four(images):
    import torch

    done = Reduce(0.5).pull(backends.load("torch").open(images))
    x = torch.from_numpy(images.material.splits.train.x[:3])
    small = done.model[0](x)
    assert small.shape == (3, 1, SIDE // 2, SIDE // 2)
    assert float(small[0, 0, 0, 0]) == pytest.approx(float(x[0, 0, :2, :2].mean()), abs=1e-6)


def test_refusals_say_why(images):
    table = mlp_job().spec
    assert "holes" in Reduce().fits(replace(table, data=replace(table.data, missing=0.1))).reason
    assert "more than it saves" in Reduce(0.95).fits(table).reason
    assert "between 0 and 1" in Reduce(1.0).fits(table).reason
    assert "fewer rows" in Reduce().fits(replace(table, data=replace(table.data, rows=5))).reason
    assert "random weights" in Reduce().fits(replace(table, train=replace(table.train, pretrained=True))).reason
    assert "images of any size" in Reduce().fits(cnn_job().spec).reason
    assert "tokens" in Reduce().fits(gpt_job().spec).reason
    assert "pipeline" in Reduce().fits(replace(table, form=Form.ESTIMATOR)).reason
    assert "left along a side" in Reduce(0.1).fits(images.spec).reason
    assert "pooled already" in Reduce().fits(Reduce().rewrite(images.spec)).reason


def test_a_first_matrix_that_is_no_layer_is_refused():
    import torch
    from torch import nn

    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Parameter(torch.randn(40, 30))
            self.last = nn.Linear(40, 2)

        def forward(self, x):
            return self.last(nn.functional.linear(x, self.first).relu())

    x = np.random.default_rng(2).normal(size=(200, 30)).astype(np.float32)
    part = Arrays(x, np.arange(200) % 2)
    rest = Arrays(x + 1, part.y)
    job = torch_job("bare", Bare, Splits(part, rest, Arrays(x - 1, part.y)), "accuracy=20%")
    assert Reduce(0.25).fits(job.spec)
    with pytest.raises(UntraceableError, match="no linear layer"):
        Reduce(0.25).pull(backends.load("torch").open(job))
