"""The clock of a training: its parts add up to the whole, and reading it is next to free."""

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
    assert set(parts) == set(Part)
    assert parts[Part.BACKWARD].cpu_s > 0
    assert parts[Part.CHECKPOINT].cpu_s > 0


def test_reading_the_clock_costs_less_than_a_percent_of_the_smallest_step():
    data = Arrays(np.zeros((400, 4), dtype=np.float32), np.zeros(400, dtype=np.int64))

    def steps():
        start = time.process_time()
        fit(nn.Linear(4, 2), data, TrainSpec(1, 1, optimizer="sgd"))
        return time.process_time() - start

    def reads():
        clock = Clock()
        for _ in range(100):
            clock.begin()
        start = time.process_time()
        for _ in range(400):
            clock.begin()
            for part in (Part.DATA, Part.FORWARD, Part.BACKWARD, Part.OPTIMISER, Part.COMMUNICATION):
                clock.mark(part)
        return time.process_time() - start

    steps()
    assert min(reads() for _ in range(7)) < 0.01 * min(steps() for _ in range(3))
