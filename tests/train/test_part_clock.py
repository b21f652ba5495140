"""The clock of a training: its parts add up to the whole."""

import time

import numpy as np
import pytest
from torch import nn

from pennyweight.core import TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.train.checkpoint import Checkpoints
from pennyweight.train.clock import Clock, Part
from pennyweight.train.loop import How, Judge, fit


def burn(cpu_s):
    end = time.process_time() + cpu_s
    while time.process_time() < end:
        pass


def test_parts_take_what_they_took_and_add_up_to_the_whole():
    clock = Clock()
    for _ in range(200):
        clock.begin()
        burn(0.0002)
        clock.mark(Part.DATA)
        burn(0.0006)
        clock.mark(Part.FORWARD)
    with clock.aside(Part.EVALUATION):
        burn(0.04)
    burn(0.02)
    parts, total = clock.counted(), clock.total
    assert parts[Part.DATA].cpu_s == pytest.approx(0.04, rel=0.3)
    assert parts[Part.FORWARD].cpu_s == pytest.approx(0.12, rel=0.3)
    assert parts[Part.EVALUATION].cpu_s == pytest.approx(0.04, rel=0.1)
    assert parts[Part.OTHER].cpu_s == pytest.approx(0.02, abs=0.015)
    assert sum(each.cpu_s for each in parts.values()) == pytest.approx(total.cpu_s, rel=0.02)
    assert sum(each.wall_s for each in parts.values()) == pytest.approx(total.wall_s, rel=0.02)


def test_a_training_fills_every_part():
    clock, data = Clock(), Arrays(np.random.default_rng(0).random((640, 20), dtype=np.float32), np.arange(640) % 4)
    how = How(clock=clock, judge=Judge(lambda model: 0.5), checkpoints=Checkpoints(lambda files: None, every=5))
    fit(nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 4)), data, TrainSpec(2, 32), how=how)
    parts = clock.counted()
    assert set(parts) == set(Part) - {Part.WORKERS}  # which are other processes
    assert parts[Part.BACKWARD].cpu_s > 0
    assert parts[Part.CHECKPOINT].cpu_s > 0
