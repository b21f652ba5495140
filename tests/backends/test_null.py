"""The null backend: a world whose answers are known beforehand."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import onnxruntime
import pytest

from pennyweight import backends
from pennyweight.backends.null import null_job, share_right
from pennyweight.errors import BadInputError


@pytest.fixture
def null():
    return backends.load("null")


def accuracy(backend, work):
    rows = work.data.certify
    return float((backend.predict(work, rows.x).argmax(1) == rows.y).mean())


def test_the_pinned_share_of_right_answers():
    assert share_right(null_job().spec) == pytest.approx(0.9725012, abs=1e-6)


def test_it_gets_right_what_the_formula_says(null):
    work = null.open(null_job())
    assert accuracy(null, work) == pytest.approx(share_right(work.spec), abs=0.002)


def test_smaller_models_and_fewer_rows_are_worse_and_eight_bits_are_not(null):
    work = null.open(null_job())
    narrow = work.having(spec=work.spec.resize({"hidden": 16}))
    int8 = work.having(spec=work.spec.map(lambda op: replace(op, weight_bits=8)))
    assert accuracy(null, narrow) < accuracy(null, work) == accuracy(null, int8)
    short = null.open(null_job(), fidelity=0.1)
    assert short.spec.data.rows == len(short.data.train) == 200
    assert accuracy(null, short) < accuracy(null, work)


def test_what_a_worse_model_gets_right_a_better_one_gets_right_too(null):
    work = null.open(null_job())
    worse = work.having(spec=work.spec.resize({"hidden": 8}))
    rows = work.data.select
    right = [null.predict(each, rows.x).argmax(1) == rows.y for each in (worse, work)]
    assert np.all(right[0] <= right[1])
    assert right[0].sum() < right[1].sum()


def test_splits_are_disjoint_and_probabilities_add_up(null):
    splits = null_job().material
    difficulty = np.concatenate([part.x[:, 0] for part in (splits.train, splits.select, splits.certify)])
    assert len(np.unique(difficulty)) == len(difficulty) == 4000
    assert np.allclose(null.predict(null.open(null_job()), splits.select.x).sum(1), 1)


def test_the_exported_formula_runs_and_answers_the_same(null):
    work = null.open(null_job())
    artifact = null.export(work, "onnx")
    session = onnxruntime.InferenceSession(artifact.file("model.onnx"), providers=["CPUExecutionProvider"])
    x = work.data.select.x
    assert np.array_equal(session.run(["y"], {"x": x})[0], null.predict(work, x))
    with pytest.raises(BadInputError, match="onnx"):
        null.export(work, "torch")


def test_it_needs_no_torch():
    code = (
        "import sys; from pennyweight import backends; from pennyweight.backends.null import null_job\n"
        "null = backends.load('null'); work = null.open(null_job()); null.predict(work, work.data.select.x)\n"
        "assert 'torch' not in sys.modules and 'onnx' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
