"""A cascade asks the dear model about the rows that the cheap one is unsure of, and about no others."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from pennyweight import backends, runtimes
from pennyweight.backends.joining import answers_of, as_graph
from pennyweight.backends.onnx_joined import asked_next
from pennyweight.core import Demand, Floor, Form, ServeSpec, Slack
from pennyweight.cost.count import count
from pennyweight.cost.table_graph import table_of_graph
from pennyweight.data.splits import split
from pennyweight.engine import Shop
from pennyweight.engine.answers import open_session, probes
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.evals.deferring import sureness
from pennyweight.jobs import sklearn_job
from pennyweight.levers.cascade import Cascade
from pennyweight.levers.quantize import Quantize
from pennyweight.levers.runtime import Runtime
from pennyweight.optimizing import Search, optimize
from pennyweight.serve.versions.intake import inspect
from pennyweight.serve.versions.loading import Answering, prove
from pennyweight.store.artifacts import load, save
from pennyweight.testing import cnn_job, gpt_job, linear_job, mlp_job
from pennyweight.train.small import Small

TORCH = backends.load("torch")
LEVER = Cascade(8, give_up=0.1, epochs=20)


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


@pytest.fixture(scope="module")
def cascade(mlp):
    return LEVER.pull(mlp)


@pytest.fixture(scope="module")
def pair(mlp):
    """A cheap and a dear graph, what each answers, and how sure the cheap one is."""
    quick, dear = as_graph(mlp, Small("net", 4).train(mlp, 5)), as_graph(mlp)
    x = mlp.data.select.x
    first, second = answers_of(mlp, quick, x), answers_of(mlp, dear, x)
    return quick, dear, first, second, sureness(first, logits=True)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 1.0])
def test_only_unsure_rows_go_up(mlp, pair, share):
    quick, dear, first, second, sure = pair
    threshold = float(np.quantile(sure, share)) if 0 < share < 1 else share * 1.1
    joined = asked_next(quick, dear, threshold, share, logits=True)
    wanted = np.where((sure < np.float32(threshold))[:, None], second, first)
    assert np.abs(answers_of(mlp, joined, mlp.data.select.x) - wanted).max() < 1e-4
    one = np.concatenate([answers_of(mlp, joined, row[None]) for row in mlp.data.select.x[:20]])
    assert np.abs(one - wanted[:20]).max() < 1e-4


def test_a_cascade_may_go_up_to_a_cascade_and_both_are_counted(mlp, pair):
    quick, dear, *_ = pair
    inner = asked_next(quick, dear, 0.9, 0.5, logits=True)
    outer = asked_next(quick, inner, 0.8, 0.4, logits=True)
    assert {op.share for op in table_of_graph(outer)} == {1.0, 0.4, 0.2}
    assert answers_of(mlp, outer, mlp.data.select.x).shape == (len(mlp.data.select), 3)


def test_what_it_costs_is_the_cheap_model_and_the_share_of_the_dear_one(mlp, cascade):
    share = min(op.share for op in cascade.spec.ops)
    cheap = 2 * (24 * 8 + 8 * 3)
    assert count(cascade.spec).flop == pytest.approx(cheap + share * count(mlp.spec).flop)
    assert count(cascade.spec).disk_byte == pytest.approx(count(mlp.spec).disk_byte + 4 * (24 * 8 + 8 + 8 * 3 + 3))
    paper = LEVER.rewrite(mlp.spec)
    assert count(paper).flop == pytest.approx(cheap + 0.25 * count(mlp.spec).flop)


def test_in_a_batch_the_weights_are_read_if_anybody_goes_up(mlp):
    [op] = [replace(op, share=0.25) for op in mlp.spec.ops if op.name == "0"]
    spec = replace(mlp.spec, ops=(op,))
    alone, four = (count(replace(spec, serve=replace(spec.serve, batch=batch))).hbm_byte for batch in (1, 4))
    weights, values = 4 * (24 * 64 + 64), 4 * (24 + 64)
    assert alone == pytest.approx(0.25 * (weights + values))
    assert four == pytest.approx((1 - 0.75**4) * weights / 4 + 0.25 * values)


def test_the_share_that_went_up_on_the_select_split_is_on_record(mlp, cascade):
    answers = TORCH.predict(cascade, mlp.data.select.x)
    asked = TORCH.predict(mlp, mlp.data.select.x)
    same = np.isclose(answers, asked, atol=1e-4).all(axis=1).mean()
    assert same == pytest.approx(min(op.share for op in cascade.spec.ops), abs=0.02)


def test_right_answers_are_kept_as_promised_on_rows_that_nobody_looked_at(mlp, cascade):
    rows = mlp.data.certify
    ours, theirs = ((TORCH.predict(work, rows.x).argmax(1) == rows.y).mean() for work in (cascade, mlp))
    assert ours >= theirs - LEVER.give_up


def test_it_is_saved_loaded_and_served_as_one_model(mlp, cascade, tmp_path):
    artifact = load(save(TORCH.export(cascade, "onnx"), tmp_path / "model.pw"))
    assert [name for name, _ in artifact.files] == ["model.onnx"]
    x, wanted = mlp.data.select.x, TORCH.predict(cascade, mlp.data.select.x)
    for name in ("onnxruntime", "openvino"):
        runtime, serve = runtimes.load(name), ServeSpec(name)
        session = runtime.load(runtime.prepare(artifact, serve), serve)
        assert all(np.abs(session.predict(x[:n]) - wanted[:n]).max() < 1e-3 for n in (1, 7, len(x)))


def test_a_quantised_model_may_be_the_dear_one_and_a_runtime_may_follow():
    work = Quantize().pull(trained(TORCH.open(cnn_job())))
    lever = Cascade(8, give_up=0.19, epochs=10)
    assert lever.fits(work.spec)
    made = lever.pull(work)
    assert made.spec.form is Form.GRAPH
    assert any(op.weight_bits == 8 and op.share < 1 for op in made.spec.ops)
    assert Runtime("openvino").fits(made.spec)


@pytest.fixture(scope="module")
def digits():
    x, y = load_digits(return_X_y=True)
    parts, floor = split(x.astype(np.float32), y), Floor("accuracy", 0.04, Slack.POINTS)
    forest = RandomForestClassifier(80, random_state=0)
    return sklearn_job("digits", forest, parts, floor, demand=Demand(1e9, batch=16))


def test_a_forest_gets_a_smaller_one_in_front_which_the_search_certifies_as_one_and_the_server_takes(digits, tmp_path):
    shop = Shop.at(tmp_path)
    front = optimize(digits, Search("greedy", ["cascade"]), shop=shop)
    assert front.certificate.held
    winner = front.certificate.run
    assert [lever.name for lever in winner.plan.levers] == ["cascade"]
    assert 0 < min(op.share for op in winner.spec.ops) < 0.8
    assert winner.bill < front.control.bill
    artifact = shop.artifacts.get(winner.artifact)
    inspect(artifact)
    prove("digits@1", Answering(open_session(artifact), artifact), *probes(artifact))


def test_what_training_the_cheap_model_takes_is_on_the_bill(mlp):
    spec = LEVER.rewrite(mlp.spec)
    cheap, dear = 2 * (24 * 8 + 8 * 3), count(mlp.spec).flop
    rows = mlp.spec.data.rows * (20 * cheap + dear / 3)
    assert spec.tune_rows * (cheap + 0.25 * dear) == pytest.approx(rows)


def test_where_the_select_split_is_too_small_to_promise_anything_it_says_so(mlp):
    few = replace(mlp.data, select=mlp.data.select.take(slice(0, 12)))
    with pytest.raises(NoEffectError, match="12 rows"):
        Cascade(8, give_up=0.05, epochs=2).pull(mlp.having(data=few))


def test_a_model_that_knows_less_than_chance_answers_nothing_alone(mlp):
    wrong = replace(mlp.data.train, y=(mlp.data.train.y + 1) % 3)
    with pytest.raises(NoEffectError, match="hardly ever sure"):
        Cascade(8, give_up=0.05, epochs=10).pull(mlp.having(data=replace(mlp.data, train=wrong), spec=unlike(mlp.spec)))


def unlike(spec):
    """So many classes that no teacher's answers fit into memory."""
    return replace(spec, data=replace(spec.data, rows=2**30))


def test_every_refusal_says_why(mlp, cascade):
    assert "already" in LEVER.fits(cascade.spec).reason
    assert "probabilities" in LEVER.fits(gpt_job().spec).reason
    assert "probabilities" in Cascade(0, "linear").fits(linear_job().spec).reason
    assert "go with" in Cascade(0, "linear").fits(mlp.spec).reason
    assert "hardly dearer" in Cascade(200).fits(mlp.spec).reason
    assert "tokens" in LEVER.fits(replace(mlp.spec, data=replace(mlp.spec.data, shape=()))).reason
    with pytest.raises(BadInputError, match="trees"):
        Cascade(sort="stones")
    with pytest.raises(BadInputError, match="train it first"):
        LEVER.pull(TORCH.open(mlp_job()))


def test_half_of_what_the_floor_allows_is_given_up_first():
    found = [lever.give_up for lever in Cascade.choices(mlp_job())]
    assert found == sorted(found)
    assert set(found) == {0.1, 0.2}


def test_what_the_select_split_cannot_promise_is_not_tried():
    strict = replace(mlp_job(), floor=Floor("accuracy", 0.03))
    rows = len(strict.material.splits.select)
    assert {lever.give_up for lever in Cascade.choices(strict)} == {0.03}
    assert Cascade(give_up=0.03).least_rows <= rows < Cascade(give_up=0.015).least_rows
