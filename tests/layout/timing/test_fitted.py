"""Fitting steps: coefficients that made the data are found again, and intervals hold."""

import json
from dataclasses import replace

import numpy as np
import pytest

from pennyweight.catalog.accelerators import accelerator
from pennyweight.catalog.models import model
from pennyweight.cost.learn.process import Part
from pennyweight.errors import CorruptError
from pennyweight.layout.timing.cases import Cases, Layouts, Machines, Models
from pennyweight.layout.timing.fitted import Fitted, Prior, Recipe, Sample
from pennyweight.layout.timing.rates import machine
from pennyweight.layout.timing.stack import STACK
from pennyweight.layout.timing.step import step_s

NAMES = ("llama-3-8b", "llama-2-13b", "llama-3-70b", "qwen3-32b", "llama-2-7b", "mistral-7b")
TRUTH = STACK.changed({"matmul": 1.2, "stream": 20.0, "tensor": 1.1})
PRIOR = Prior({"matmul": 0.3, "stream": 0.5, "tensor": 0.5}, noise=0.02)


@pytest.fixture(scope="module")
def sample():
    rng = np.random.default_rng(3)
    count = 120
    names = rng.choice(NAMES, count)
    degrees = {name: 2.0 ** rng.integers(0, 4, count) for name in ("tp", "micro_batch")}
    machines = Machines.one(machine(accelerator("h100")))
    sequence = 2.0 ** rng.integers(10, 14, count)
    cases = Cases(
        Models.of([model(name) for name in names]), Layouts.at(**degrees), machines, sequence, np.full(count, 64.0)
    )
    measured = step_s(cases, TRUTH) * np.exp(rng.normal(0, 0.02, count))
    return Sample(cases, {"model": names, "tp": np.log2(degrees["tp"])}, measured)


RECIPE = Recipe(PRIOR, (Part(0.02, near={"tp": 1.0}),), 0.02, ("model",))


def test_coefficients_that_made_the_data_are_found(sample):
    found = PRIOR.fit(sample.cases, sample.measured_s)
    assert found.matmul == pytest.approx(TRUTH.matmul, rel=0.05)
    assert found.tensor == pytest.approx(TRUTH.tensor, rel=0.15)
    assert found.send == STACK.send


def test_a_few_wild_rows_hardly_move_the_fit(sample):
    wild = sample.measured_s.copy()
    wild[:6] *= 4
    assert PRIOR.fit(sample.cases, wild).matmul == pytest.approx(
        PRIOR.fit(sample.cases, sample.measured_s).matmul, rel=0.05
    )


def test_nothing_loose_is_nothing_fitted(sample):
    assert Prior({}).fit(sample.cases, sample.measured_s) == STACK


def test_intervals_hold_models_left_out(sample):
    held = []
    for name in NAMES:
        left = sample.traits["model"] == name
        fitted = Fitted.learn(RECIPE, sample.take(~left))
        asked = sample.take(left)
        value, low, high = fitted.predict(asked.cases, asked.traits)
        assert np.abs(value / asked.measured_s - 1).mean() < 0.04
        held += ((low <= asked.measured_s) & (asked.measured_s <= high)).tolist()
    assert 0.85 < np.mean(held) < 0.99


def test_a_fit_comes_back_from_json(sample):
    fitted = Fitted.learn(RECIPE, sample)
    again = Fitted.restore(RECIPE, json.loads(json.dumps(fitted.to_dict())))
    assert again.predict(sample.cases, sample.traits)[0] == pytest.approx(
        fitted.predict(sample.cases, sample.traits)[0]
    )


def test_a_broken_fit_is_refused(sample):
    with pytest.raises(CorruptError, match="no fit of steps"):
        Fitted.restore(RECIPE, {"stack": {"speed": 1.0}})


def test_a_few_wild_rows_hardly_move_their_neighbours(sample):
    wild = replace(sample, measured_s=sample.measured_s.copy())
    wild.measured_s[:6] *= 4
    plain = Recipe(Prior({}, TRUTH), (Part(0.2), Part(0.1, near={"tp": 1.0})), 0.05, ("model",))
    calm = sample.measured_s[6:]
    off = {}
    for bend in (0.0, 1.5):
        fitted = Fitted.learn(replace(plain, robust=bend), wild)
        found = fitted.predict(sample.cases, sample.traits)[0][6:]
        off[bend] = float(np.abs(np.log(found / calm)).mean())
    assert off[1.5] < 0.7 * off[0.0]
    assert off[1.5] < 0.03


def test_where_no_row_is_wild_robustness_changes_next_to_nothing(sample):
    asked = sample.cases, sample.traits
    values = [Fitted.learn(replace(RECIPE, robust=bend), sample).predict(*asked)[0] for bend in (0.0, 3.0)]
    assert values[1] == pytest.approx(values[0], rel=0.01)
