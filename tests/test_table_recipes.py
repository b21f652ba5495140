"""The recipes on tables are what they say, and their controls are worth beating."""

from pathlib import Path

import numpy as np
import pytest

from pennyweight import backends
from pennyweight.core import Kind, Slack
from pennyweight.engine.making import trained
from pennyweight.jobs import load_recipe

RECIPES = Path(__file__).resolve().parents[1] / "recipes"


@pytest.fixture(scope="module")
def backend():
    return backends.load("sklearn")


def test_breast_cancer_is_a_hundred_boosted_trees_with_enough_rows_for_its_floor(backend):
    job = load_recipe(RECIPES / "breast_cancer_forest.py")
    assert job.material.splits.sizes == (228, 114, 227)
    assert job.floor.amount == pytest.approx(0.04)
    work = trained(backend.open(job))
    assert [(op.kind, op.times) for op in backend.table(work)] == [(Kind.TREE, 100)]
    rows = work.data.certify
    assert (backend.predict(work, rows.x).argmax(axis=1) == rows.y).mean() > 0.91


def test_linear_regression_is_least_squares_on_ten_features(backend):
    job = load_recipe(RECIPES / "linear_regression.py")
    assert job.material.splits.sizes == (221, 88, 133)
    assert job.floor.slack is Slack.RATIO
    work = trained(backend.open(job))
    assert [(op.kind, op.n_in, op.n_out) for op in backend.table(work)] == [(Kind.LINEAR, 10, 1)]
    rows = work.data.certify
    error = np.sqrt(((backend.predict(work, rows.x) - rows.y) ** 2).mean())
    assert error < 0.85 * rows.y.std()
