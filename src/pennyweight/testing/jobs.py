"""Tiny jobs that run in about a second each, with data as dirty as each can stand."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.core import Demand, Floor, Slack, TeamSpec, TrainSpec
from pennyweight.data.splits import Arrays, Splits, split
from pennyweight.data.texts import PADDING
from pennyweight.jobs import sklearn_job, torch_job
from pennyweight.testing.networks import (
    CLASSES,
    COLUMNS,
    CONTEXT,
    GROUPS,
    PIXELS,
    VOCABULARY,
    tiny_cnn,
    tiny_gpt,
    tiny_mlp,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray
    from torch import nn

    from pennyweight.core import Job

_ROWS = 480
_UNKNOWN = 120  # rows without labels
_SURE = 0.9  # how often the next token follows from the last


@cache
def tiny_jobs() -> tuple[Job, ...]:
    """Nine jobs: a convolutional network, two perceptrons, two transformers, a forest, three others as small.

    Their data is dirty: doubled rows, columns of very different size, holes where the model can stand them.
    """
    return (
        cnn_job(),
        mlp_job(),
        team_job(),
        gpt_job(),
        notes_job(),
        forest_job(),
        linear_job(),
        busy_job(),
        pretrained_job(),
    )


def cnn_job() -> Job:
    """Noisy images of four kinds, as raw pixels around 100."""
    rng = np.random.default_rng(0)
    y = np.arange(_ROWS) % CLASSES
    shape = (1, PIXELS, PIXELS)
    x = rng.normal(size=(CLASSES, *shape))[y] + rng.normal(size=(_ROWS, *shape))
    parts = _doubled(split((40 * x + 100).astype(np.float32), y))
    return torch_job("tiny_cnn", tiny_cnn, parts, Floor("accuracy", 0.2), train=TrainSpec(6, 32, lr=3e-3))


def mlp_job() -> Job:
    """A table of three overlapping groups, and some rows of which nobody knows the group."""
    more = _rows_of(np.arange(_UNKNOWN) % GROUPS, COLUMNS, seed=4)
    parts = replace(_doubled(split(*_table(COLUMNS))), unlabelled=more)
    return torch_job("tiny_mlp", tiny_mlp, parts, Floor("accuracy", 0.2), train=TrainSpec(12, 32, lr=3e-3))


def team_job() -> Job:
    """The perceptron's table for two workers that average their gradients at every step."""
    train = TrainSpec(12, 16, lr=3e-3, team=TeamSpec(2))
    return torch_job("tiny_team", tiny_mlp, _doubled(split(*_table(COLUMNS))), Floor("accuracy", 0.2), train=train)


def gpt_job() -> Job:
    """Sequences in which nine of ten tokens follow from the one before."""
    rng = np.random.default_rng(3)
    text = rng.integers(VOCABULARY, size=(_ROWS // 2, CONTEXT + 1))
    for place in range(CONTEXT):
        follows = rng.random(len(text)) < _SURE
        text[:, place + 1] = np.where(follows, (5 * text[:, place] + 3) % VOCABULARY, text[:, place + 1])
    parts = _doubled(split(text[:, :-1], text[:, 1:], stratify=False))
    floor = Floor("perplexity", 0.2, Slack.RATIO)
    return torch_job("tiny_gpt", tiny_gpt, parts, floor, train=TrainSpec(4, 16, "adamw", lr=3e-3))


def notes_job() -> Job:
    """The transformer on sequences of which most are shorter than a row."""
    parts = gpt_job().material.splits
    ends = np.random.default_rng(5).integers(2, CONTEXT + 1, len(parts.train))
    shorter = np.where(np.arange(CONTEXT) < ends[:, None], parts.train.y, PADDING)
    parts = replace(parts, train=replace(parts.train, y=shorter))
    floor = Floor("perplexity", 0.3, Slack.RATIO)
    return torch_job("tiny_notes", tiny_gpt, parts, floor, train=TrainSpec(4, 16, "adamw", lr=3e-3))


def pretrained_job() -> Job:
    """The perceptron, which begins with what it knows of two of the three groups, on few rows of all three."""
    x, y = _table(COLUMNS)
    two, few = y < GROUPS - 1, np.arange(_ROWS) % 2 == 0
    known = _learned(Arrays(x[two], y[two]))
    train = TrainSpec(6, 32, lr=3e-3, pretrained=True)
    parts = _doubled(split(x[few], y[few]))
    return torch_job("tiny_pretrained", known, parts, Floor("accuracy", 0.3), train=train)


def _learned(rows: Arrays) -> Callable[[], nn.Module]:
    """A factory of perceptrons whose hidden layers were trained on these rows; the last is new each time."""
    import torch

    from pennyweight.train.loop import fit

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(0)
        state = fit(tiny_mlp(), rows, TrainSpec(3, 32, lr=3e-3)).model.state_dict()
    hidden = {name: each for name, each in state.items() if not name.startswith("4.")}

    def known_mlp() -> nn.Module:
        model = tiny_mlp()
        model.load_state_dict(hidden, strict=False)
        return model

    return known_mlp


def forest_job() -> Job:
    """A table with holes, and a forest deep enough to have learned its noise."""
    from sklearn.ensemble import RandomForestClassifier

    x, y = _table(COLUMNS // 2)
    x[::9, 3] = np.nan
    forest = RandomForestClassifier(12, max_depth=8, random_state=0)
    return sklearn_job("tiny_forest", forest, _doubled(split(x, y)), Floor("accuracy", 0.2))


def linear_job() -> Job:
    """A regression on 24 columns of which four matter."""
    from sklearn.linear_model import Ridge

    rng = np.random.default_rng(2)
    x, _ = _table(COLUMNS)
    y = x[:, 1:5] @ np.array([2.0, -1.0, 0.5, 0.2]) + rng.normal(size=_ROWS)
    return sklearn_job("tiny_linear", Ridge(1e-3), _doubled(split(x, y)), Floor("r2", 0.2))


def busy_job() -> Job:
    """The regression, asked ten thousand times a second, a third of them what was asked before, each in a hurry."""
    demand = Demand(1e4 * 86400, days=1.0, repeats=0.3, latency_s=0.02)
    return replace(linear_job(), name="tiny_busy", demand=demand)


def _table(columns: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Three overlapping groups in columns of which every fifth is a hundred times larger than the others."""
    y = np.arange(_ROWS) % GROUPS
    return _rows_of(y, columns), y


def _rows_of(y: NDArray[np.int64], columns: int, seed: int | None = None) -> NDArray[np.float32]:
    """Rows of the groups `y`, which lie where they always do; noise of a `seed` of its own, if one is given."""
    rng = np.random.default_rng(1)
    centres = rng.normal(size=(GROUPS, columns))
    noise = rng if seed is None else np.random.default_rng(seed)
    x = centres[y] + noise.normal(size=(len(y), columns))
    x[:, ::5] *= 100
    return x.astype(np.float32)


def _doubled(parts: Splits) -> Splits:
    """The splits with a sixth of the training rows given twice."""
    train = parts.train
    index = np.concatenate([np.arange(len(train)), np.arange(0, len(train), 6)])
    return replace(parts, train=Arrays(train.x[index], train.y[index]))
