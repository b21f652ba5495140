"""A network is left early where the head in its middle is sure, and goes on from there where it is not."""

from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from pennyweight import backends, runtimes
from pennyweight.backends.torch_exits import averaging, halves, joined, looking, passed
from pennyweight.core import Form, ServeSpec
from pennyweight.cost.count import count
from pennyweight.cost.table_graph import table_of_graph
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError
from pennyweight.levers.early_exit import EarlyExit
from pennyweight.levers.quantize import Quantize
from pennyweight.store.artifacts import load, save
from pennyweight.testing import cnn_job, forest_job, gpt_job, linear_job, mlp_job

TORCH = backends.load("torch")
LEVER = EarlyExit(2, give_up=0.1, epochs=10)


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


@pytest.fixture(scope="module")
def leaving(mlp):
    return LEVER.pull(mlp)


def test_the_two_halves_are_the_network(mlp):
    begin, rest = halves(mlp, 2)
    x = mlp.data.select.x
    assert np.abs(passed(rest, passed(begin, x)) - TORCH.predict(mlp, x)).max() < 1e-5
    assert [type(layer).__name__ for layer in rest] == ["Linear", "ReLU", "Linear"]


def test_rows_that_go_on_get_the_networks_own_answer_and_the_others_the_heads(mlp, leaving):
    x = mlp.data.select.x
    found, whole = TORCH.predict(leaving, x), TORCH.predict(mlp, x)
    went = np.isclose(found, whole, atol=1e-4).all(axis=1)
    assert went.mean() == pytest.approx(min(op.share for op in leaving.spec.ops), abs=0.02)
    assert not went.all()


def test_what_it_costs_is_the_beginning_the_head_and_the_share_of_the_rest(mlp, leaving):
    share = min(op.share for op in leaving.spec.ops)
    begin, head, rest = 2 * 24 * 64, 2 * 64 * 3, 2 * (64 * 48 + 48 * 3)
    assert count(leaving.spec).flop == pytest.approx(begin + head + share * rest)
    assert count(LEVER.rewrite(mlp.spec)).flop == pytest.approx(begin + head + 0.25 * rest)
    assert count(leaving.spec).disk_byte == pytest.approx(count(mlp.spec).disk_byte + 4 * (64 * 3 + 3))


def test_right_answers_are_kept_as_promised_on_rows_that_nobody_looked_at(mlp, leaving):
    rows = mlp.data.certify
    ours, theirs = ((TORCH.predict(work, rows.x).argmax(1) == rows.y).mean() for work in (leaving, mlp))
    assert ours >= theirs - LEVER.give_up


def test_it_is_saved_loaded_and_served_as_one_model(mlp, leaving, tmp_path):
    artifact = load(save(TORCH.export(leaving, "onnx"), tmp_path / "model.pw"))
    x, wanted = mlp.data.select.x, TORCH.predict(leaving, mlp.data.select.x)
    for name in ("onnxruntime", "openvino"):
        runtime, serve = runtimes.load(name), ServeSpec(name)
        session = runtime.load(runtime.prepare(artifact, serve), serve)
        assert all(np.abs(session.predict(x[:n]) - wanted[:n]).max() < 1e-3 for n in (1, 7, len(x)))


def test_a_network_of_blocks_is_left_between_them():
    work = trained(TORCH.open(cnn_job()))
    lever = EarlyExit(1, give_up=0.15, epochs=5)
    made = lever.pull(work)
    assert made.spec.form is Form.GRAPH
    alone = replace(made.spec, ops=tuple(replace(op, share=1.0) for op in made.spec.ops))
    head = 2 * 16 * 4 * 4 * 4
    assert count(alone).flop == pytest.approx(count(work.spec).flop + head)


def test_a_head_averages_large_images_until_few_numbers_are_left():
    assert averaging(16, (4, 4)) == 1
    assert averaging(32, (13, 13)) == 3
    assert averaging(64, (56, 56)) == 14
    assert averaging(2048, (7, 7)) == 7
    wide = nn.Conv2d(1, 32, 3, padding=1)
    x = np.ones((2, 1, 13, 13), dtype=np.float32)
    assert passed(joined(wide, looking(wide, x)), x).shape == (2, 32 * 4 * 4)


def test_what_training_the_head_takes_is_on_the_bill(mlp):
    spec = LEVER.rewrite(mlp.spec)
    rows = mlp.spec.data.rows * (10 * 2 * 64 * 3 + count(mlp.spec).flop / 3)
    assert spec.tune_rows * count(spec).flop == pytest.approx(rows)


def test_the_network_itself_is_not_touched(mlp):
    before = {name: tensor.clone() for name, tensor in mlp.model.state_dict().items()}
    LEVER.pull(mlp)
    assert all((tensor == before[name]).all() for name, tensor in mlp.model.state_dict().items())


def test_a_sequence_that_does_more_than_call_its_layers_is_refused(mlp):
    class Doubling(nn.Sequential):
        def forward(self, x):
            return 2 * super().forward(x)

    with pytest.raises(BadInputError, match="more than call"):
        LEVER.pull(mlp.having(model=Doubling(*mlp.model)))
    with pytest.raises(BadInputError, match="no place"):
        LEVER.pull(mlp.having(model=mlp.model[0]))


def test_where_the_select_split_is_too_small_to_promise_anything_it_says_so(mlp):
    few = replace(mlp.data, select=mlp.data.select.take(slice(0, 12)))
    with pytest.raises(NoEffectError, match="12 rows"):
        EarlyExit(2, give_up=0.05, epochs=2).pull(mlp.having(data=few))


def test_every_refusal_says_why(mlp, leaving):
    quantised = Quantize().rewrite(mlp.spec)
    assert "before quantising" in LEVER.fits(quantised).reason
    assert "before quantising" in LEVER.fits(leaving.spec).reason
    assert "before quantising" in LEVER.fits(forest_job().spec).reason
    assert "probabilities" in LEVER.fits(gpt_job().spec).reason
    assert "quantising" in LEVER.fits(linear_job().spec).reason
    assert "so deep" in EarlyExit(4).fits(mlp.spec).reason
    assert "number 1" in EarlyExit(1).fits(mlp.spec).reason
    named = replace(mlp.spec, ops=tuple(replace(op, name=f"body.{op.name}") for op in mlp.spec.ops))
    assert "no plain sequence" in LEVER.fits(named).reason
    with pytest.raises(BadInputError, match="from 1"):
        EarlyExit(0)
    with pytest.raises(BadInputError, match="train it first"):
        LEVER.pull(TORCH.open(mlp_job()))


def test_choices_are_the_places_before_layers_with_weights():
    assert {lever.at for lever in EarlyExit.choices(mlp_job())} == {2}
    assert {lever.at for lever in EarlyExit.choices(cnn_job())} == {1}
    assert not list(EarlyExit.choices(gpt_job()))


def test_an_exit_is_found_in_the_graph_again(leaving):
    shares = {op.share for op in table_of_graph(leaving.model)}
    assert len(shares) == 2
    assert max(shares) == 1
