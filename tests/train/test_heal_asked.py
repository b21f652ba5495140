"""A teacher that is asked for every batch teaches what its kept answers would."""

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from pennyweight.core import Task, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.train.loop import How, fit


def test_a_teacher_that_is_asked_gives_the_same_weights_as_its_kept_answers():
    torch.manual_seed(1)
    rows = np.random.default_rng(0).integers(0, 9, (40, 7))
    data = Arrays(rows[:, :-1], rows[:, 1:])
    teacher = nn.Sequential(nn.Embedding(9, 8), nn.Linear(8, 9)).requires_grad_(requires_grad=False)
    student = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))
    settings = TrainSpec(epochs=2, batch=8, lr=0.01)
    asked = How(task=Task.LANGUAGE, teacher=teacher, mix=0.7)
    kept = replace(asked, teacher=None, teacher_logits=teacher(torch.from_numpy(data.x)).numpy())
    alone = replace(asked, teacher=None)
    found = [fit(student, data, settings, how=how).model.state_dict() for how in (asked, kept, alone)]
    for name, weight in found[0].items():
        assert torch.allclose(weight, found[1][name], atol=1e-6)
    assert not torch.allclose(found[0]["1.weight"], found[2]["1.weight"], atol=1e-4)
