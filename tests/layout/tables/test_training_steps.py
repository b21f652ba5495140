"""Tables of training steps: how far off models, shapes and layouts never seen are, and what odd rows get."""

import json

import numpy as np
import pytest

from bench.heldout import held_out, line_of
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.layout.rows import Rows
from pennyweight.layout.tables import megatron_published, mpt, nemo, vtrain
from pennyweight.layout.tables.finding import kind_of
from pennyweight.layout.tables.steps import STEP

FILES = {
    vtrain: "train_vtrain_a100.csv",
    megatron_published: "train_megatron_published.csv",
    mpt: "train_llmfoundry_mpt.csv",
    nemo: "train_nvidia_nemo_megatron_bridge.csv",
}
KINDS = pytest.mark.parametrize("kind", FILES, ids=lambda kind: kind.TABLE.name)


@pytest.fixture(scope="module")
def published(samples):
    return {kind: Rows.read(samples / "training" / file) for kind, file in FILES.items()}


@pytest.fixture(scope="module")
def learnt(published):
    return {kind: kind.TABLE.learn(rows) for kind, rows in published.items()}


def changed(rows, at, **fields):
    one = rows.take(np.array([at]))
    columns = {name: np.array([fields.get(name, str(column[0]))]) for name, column in one.columns.items()}
    return Rows(columns, one.lines)


def error_of(kind, rows, split):
    return line_of((kind.TABLE.name, STEP, split), held_out(kind.TABLE, rows, split, 10)[STEP], None)


@KINDS
def test_a_table_is_known_by_its_columns(kind, published):
    assert kind_of(published[kind]) is kind.TABLE


def test_shapes_and_layouts_of_one_node_are_known_from_others(published):
    rows = published[vtrain]
    single = rows.take(np.char.startswith(rows.text("set"), "single"))
    shapes, layouts = error_of(vtrain, single, "shape"), error_of(vtrain, single, "layout")
    assert (shapes.rows, shapes.answered) == (1080, 1.0)
    assert shapes.mape < 0.02
    assert layouts.mape < 0.03
    assert min(shapes.covered, layouts.covered) > 0.8


def test_models_over_many_nodes_are_known_from_others(published):
    rows = published[vtrain]
    many = rows.take(np.char.startswith(rows.text("set"), "multi"))
    found = error_of(vtrain, many, "shape")
    assert (found.rows, found.answered) == (67, 1.0)
    assert found.mape < 0.10
    assert found.covered > 0.8


@pytest.mark.parametrize(
    ("kind", "least", "covered"), [(megatron_published, 0.04, 0.8), (mpt, 0.05, 0.85), (nemo, 0.11, 0.85)]
)
def test_models_never_seen_are_known_from_others(kind, least, covered, published, held_out_once):
    out = held_out_once(kind.TABLE, published[kind], "model", 5)[STEP]
    found = line_of((kind.TABLE.name, STEP, "model"), out, None)
    assert found.answered == 1.0
    assert found.mape < least
    assert found.covered > covered


@KINDS
def test_what_was_learned_comes_back_from_json(kind, published, learnt):
    rows = published[kind].take(np.arange(20))
    again = kind.TABLE.restore(json.loads(json.dumps(learnt[kind].to_dict())))
    assert again.predict(rows)[STEP].value == pytest.approx(learnt[kind].predict(rows)[STEP].value, rel=1e-3)


@KINDS
def test_a_broken_fit_is_refused(kind):
    with pytest.raises(CorruptError, match="no fit of a table of steps"):
        kind.TABLE.restore({"kinds": {}})


@KINDS
def test_rows_that_were_measured_are_not_outside(kind, published, learnt):
    outside = learnt[kind].predict(published[kind])[STEP].outside
    assert (np.char.str_len(outside) == 0).all()


def test_a_model_far_from_all_is_answered_more_widely_and_said(published, learnt):
    rows = published[vtrain]
    at = int(np.flatnonzero(np.char.startswith(rows.text("set"), "multi"))[0])
    near, far = changed(rows, at), changed(rows, at, hidden="49152", layers="160", heads="384", ffn="196608")
    known, strange = (learnt[vtrain].predict(each)[STEP] for each in (near, far))
    assert strange.value[0] > 100 * known.value[0]
    assert strange.high[0] / strange.low[0] > known.high[0] / known.low[0]
    assert str(strange.outside[0]).startswith("nearest measured row: layers hidden tp dp pp micro-batch: ")


def test_a_model_that_is_not_in_the_catalog_is_said_and_not_guessed(published, learnt):
    found = learnt[nemo].predict(changed(published[nemo], 0, model="Frobnicator 9000"))[STEP]
    assert np.isnan(found.value[0])
    assert found.outside[0] == "The name of the model says no family or size."


def test_a_model_that_another_stands_in_for_is_answered_less_surely_and_said(published, learnt):
    known, other = (changed(published[nemo], 0, model=name) for name in ("LLAMA3_70B", "Frobnicator 70B"))
    exact, found = (learnt[nemo].predict(each)[STEP] for each in (known, other))
    assert found.value[0] == pytest.approx(exact.value[0], rel=0.3)
    assert found.high[0] / found.low[0] > exact.high[0] / exact.low[0]
    assert str(found.outside[0]).startswith(
        "a usual transformer of 70 billion parameters stands in for Frobnicator 70B"
    )
    assert "stands in" not in str(exact.outside[0])


def test_a_degree_that_follows_from_the_others_is_filled_in(published, learnt):
    whole, blank = published[vtrain], changed(published[vtrain], 0, tp="")
    assert (
        learnt[vtrain].predict(blank)[STEP].value[0] == learnt[vtrain].predict(whole.take(np.array([0])))[STEP].value[0]
    )


def test_sizes_that_a_row_does_not_say_are_the_usual_ones_and_said(published, learnt):
    blank = changed(published[mpt], 0, heads="", ffn="", vocab="")
    found, exact = (learnt[mpt].predict(each)[STEP] for each in (blank, changed(published[mpt], 0)))
    assert found.value[0] == pytest.approx(exact.value[0], rel=0.05)
    assert "the usual ones" in str(found.outside[0])


def test_an_accelerator_that_is_not_in_the_catalog_is_said(published, learnt):
    found = learnt[mpt].predict(changed(published[mpt], 0, gpu="abacus"))[STEP]
    assert np.isnan(found.value[0])
    assert "abacus" in str(found.outside[0])


def test_a_kind_of_gpu_never_measured_is_answered_by_physics_and_said(published, learnt):
    found = learnt[mpt].predict(changed(published[mpt], 0, gpu="h200"))[STEP]
    assert found.value[0] > 0
    assert str(found.outside[0]).startswith("no row like h200 was measured")


def test_a_row_without_a_degree_is_said(published, learnt):
    found = learnt[vtrain].predict(changed(published[vtrain], 0, tp="", n_gpus=""))[STEP]
    assert np.isnan(found.value[0])
    assert found.outside[0] == "The row does not say its model or its layout."


def test_a_table_without_measured_steps_teaches_nothing(published):
    rows = changed(published[vtrain], 0, step_time_ms="")
    with pytest.raises(BadInputError, match="No row of this table has a measured step"):
        vtrain.TABLE.learn(rows)


def test_replicas_are_what_is_left_of_the_gpus(published):
    cases = nemo.READING.read(changed(published[nemo], 0, n_gpus="256", tp="4", pp="8", cp="2", vp="n/a", ep="")).cases
    assert cases.layout.dp.tolist() == [4.0]
    assert cases.layout.ep.tolist() == [1.0]
    assert cases.layout.chunks.tolist() == [1.0]


def test_figures_that_tell_the_answer_are_not_looked_at(published, learnt):
    rows = published[nemo].take(np.arange(30))
    blind = {"tokens_per_s_gpu": "1", "model_tflops_per_gpu": "1", "step_time_s_derived": "1"}
    hidden = Rows(
        {name: np.full(30, blind[name]) if name in blind else column for name, column in rows.columns.items()},
        rows.lines,
    )
    assert learnt[nemo].predict(hidden)[STEP].value.tolist() == learnt[nemo].predict(rows)[STEP].value.tolist()
