"""Quantised networks hold integers, count what the paper says, and answer nearly as before."""

import logging
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from pennyweight import backends, runtimes
from pennyweight.backends import onnx_quantize
from pennyweight.core import Form, Kind, ServeSpec, Task
from pennyweight.cost.count import count
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, UntraceableError
from pennyweight.levers.quantize import Quantize
from pennyweight.testing import cnn_job, forest_job, gpt_job, mlp_job

TORCH = backends.load("torch")


def work_on(job, epochs):
    return trained(TORCH.open(replace(job, spec=replace(job.spec, train=replace(job.spec.train, epochs=epochs)))))


def as_graph(work):
    """The same network, written as a graph once: tracing is what takes time here."""
    graph = work.having(model=TORCH.export(work, "onnx").file("model.onnx"), spec=replace(work.spec, form=Form.GRAPH))
    return graph.having(spec=replace(graph.spec, ops=TORCH.table(graph)))


@pytest.fixture(scope="module")
def cnn():
    return work_on(cnn_job(), 3)


@pytest.fixture(scope="module")
def cnn_graph(cnn):
    return as_graph(cnn)


@pytest.fixture(scope="module")
def mlp():
    return as_graph(work_on(mlp_job(), 12))


@pytest.fixture(scope="module")
def gpt():
    return as_graph(work_on(gpt_job(), 1))


def real(work):
    return replace(work.spec, ops=TORCH.table(work))


def nodes(work):
    return onnx.ModelProto.FromString(work.model).graph.node


def share_kept(before, after):
    x = before.data.select.x
    return np.mean(TORCH.predict(before, x).argmax(-1) == TORCH.predict(after, x).argmax(-1))


@pytest.mark.parametrize("calibration", onnx_quantize.CALIBRATIONS)
def test_a_calibrated_network_answers_as_before(cnn_graph, calibration):
    quantised = Quantize(calibration=calibration).pull(cnn_graph)
    assert quantised.spec == Quantize(calibration=calibration).rewrite(cnn_graph.spec)
    assert share_kept(cnn_graph, quantised) > 0.95


@pytest.mark.parametrize("float_stem", [True, False])
def test_module_and_graph_count_what_the_paper_says(cnn, cnn_graph, float_stem):
    for work in (cnn, cnn_graph):
        quantised = Quantize(float_stem=float_stem).pull(work)
        assert count(real(quantised)) == count(quantised.spec)


def test_weights_are_stored_as_signed_bytes_and_biases_as_words(mlp):
    quantised = Quantize().pull(mlp)
    held = onnx.ModelProto.FromString(quantised.model).graph.initializer
    sizes = {
        kind: sum(np.prod(t.dims) for t in held if t.data_type == kind and t.dims)
        for kind in (TensorProto.INT8, TensorProto.INT32, TensorProto.FLOAT)
    }
    weights, channels = 24 * 64 + 64 * 48 + 48 * 3, 64 + 48 + 3
    assert sizes[TensorProto.INT8] == weights + channels  # and their zero points
    assert sizes[TensorProto.INT32] == 2 * channels  # biases and their zero points
    assert sizes[TensorProto.FLOAT] == 2 * channels  # the scales of both
    assert share_kept(mlp, quantised) > 0.95


def test_a_float_stem_stays_float_and_the_others_do_not(cnn_graph):
    def first_reads_integers(work):
        produced = {out: node for node in nodes(work) for out in node.output}
        first = next(node for node in nodes(work) if node.op_type == "Conv")
        return produced.get(first.input[1], first).op_type == "DequantizeLinear"

    stem, whole = Quantize().pull(cnn_graph), Quantize(float_stem=False).pull(cnn_graph)
    assert not first_reads_integers(stem)
    assert first_reads_integers(whole)
    bits = [op.weight_bits for op in stem.spec.ops if op.kind in {Kind.CONV, Kind.LINEAR}]
    assert bits[0] == 32
    assert set(bits[1:]) == {8}
    assert {op.weight_bits for op in whole.spec.ops if op.kind is Kind.CONV} == {8}
    assert count(whole.spec).hbm_byte < count(stem.spec).hbm_byte < count(cnn_graph.spec).hbm_byte


@pytest.mark.parametrize(
    ("lever", "operator"),
    [
        (Quantize("dynamic"), "MatMulInteger"),
        (Quantize("blocks"), "MatMulNBits"),
        (Quantize("blocks", 4), "MatMulNBits"),
    ],
)
def test_weights_alone_can_be_integers(gpt, lever, operator):
    quantised = lever.pull(gpt)
    products = sum(op.times for op in gpt.spec.ops if op.kind is Kind.LINEAR)
    assert sum(node.op_type == operator for node in nodes(quantised)) == products
    assert len(quantised.model) < len(TORCH.export(gpt, "onnx").file("model.onnx"))
    paper, found = count(quantised.spec), count(real(quantised))
    assert found.flop == paper.flop
    assert found.disk_byte == pytest.approx(paper.disk_byte, rel=0.1)
    assert quantised.spec.tune_rows == gpt.spec.tune_rows


def test_eight_bits_in_blocks_change_a_language_model_less_than_four(gpt):
    x = gpt.data.select.x
    before = TORCH.predict(gpt, x)
    off = {bits: np.abs(TORCH.predict(Quantize("blocks", bits).pull(gpt), x) - before).max() for bits in (4, 8)}
    assert 0 < off[8] < off[4]
    assert off[8] < 0.02 * np.abs(before).max()


def test_tokens_calibrate_language_models_too(gpt):
    quantised = Quantize().pull(gpt)
    assert share_kept(gpt, quantised) > 0.9


def test_one_seed_draws_the_same_rows_and_another_seed_others(mlp):
    first, again = Quantize(rows=16).pull(mlp), Quantize(rows=16).pull(mlp)
    assert first.model == again.model
    assert Quantize(rows=16).pull(mlp.having(seed=1)).model != first.model


def test_only_the_training_split_is_looked_at(mlp):
    blind = replace(mlp.data, select=None, certify=None)
    assert Quantize().pull(mlp.having(data=blind)).model == Quantize().pull(mlp).model


def test_a_graph_is_served_by_a_runtime_that_loads_graphs(cnn):
    assert Quantize().rewrite(cnn.spec).serve.runtime == "onnxruntime"
    served = replace(cnn.spec, serve=ServeSpec("openvino"))
    assert Quantize().rewrite(served).serve.runtime == "openvino"


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_runtimes_answer_as_the_backend_does(cnn_graph, name):
    quantised = Quantize().pull(cnn_graph)
    artifact = TORCH.export(quantised, "onnx")
    x = cnn_graph.data.select.x
    session = runtimes.load(name).load(artifact, ServeSpec(name, batch=len(x)))
    wanted = TORCH.predict(quantised, x)
    assert np.mean(session.predict(x).argmax(1) == wanted.argmax(1)) > 0.98


def test_what_does_not_fit_says_why(cnn, mlp):
    only_stem = replace(cnn.spec, ops=tuple(op for op in cnn.spec.ops if op.kind is not Kind.LINEAR)[:2])
    shapeless = replace(mlp.spec, ops=tuple(op for op in mlp.spec.ops if op.kind is Kind.POINTWISE))
    for spec, word in (
        (Quantize().rewrite(cnn.spec), "already"),
        (forest_job().spec, "estimator"),
        (only_stem, "float_stem"),
        (shapeless, "no convolution"),
    ):
        verdict = Quantize().fits(spec)
        assert not verdict
        assert word in verdict.reason
    assert Quantize(float_stem=False).fits(only_stem)
    assert Quantize().fits(mlp.spec)


@pytest.mark.parametrize(
    "wrong",
    [
        {"how": "magic"},
        {"bits": 4},
        {"how": "blocks", "bits": 3},
        {"rows": 2},
        {"calibration": "guess"},
    ],
)
def test_settings_there_are_none_of_are_refused_when_made(wrong):
    with pytest.raises(BadInputError, match="To fix"):
        Quantize(**wrong)


def test_an_untrained_network_is_refused():
    with pytest.raises(BadInputError, match="train it first"):
        Quantize().pull(TORCH.open(mlp_job()))


def test_a_graph_of_unknown_operators_is_refused(mlp):
    proto = onnx.ModelProto.FromString(mlp.model)
    proto.graph.node[0].op_type = "Convolve"
    strange = mlp.having(model=proto.SerializeToString())
    for how in ("static", "dynamic"):
        with pytest.raises(UntraceableError, match="leave quantisation out"):
            Quantize(how).pull(strange)


def test_choices_fit_the_task():
    assert [lever.how for lever in Quantize.choices(gpt_job())][:2] == ["blocks", "dynamic"]
    images = list(Quantize.choices(cnn_job()))
    assert [lever.how for lever in images] == ["static", "static"]
    assert images[0].float_stem
    assert gpt_job().spec.data.task is Task.LANGUAGE
    assert cnn_job().spec.form is Form.MODULE


def test_nothing_is_left_behind_and_nothing_is_said(gpt, mlp, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", None)
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.root.manager.disable
    for lever, work in (
        (Quantize(calibration="percentile"), mlp),
        (Quantize("blocks"), gpt),
        (Quantize("dynamic"), gpt),
    ):
        lever.pull(work)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert (root.level, list(root.handlers), logging.root.manager.disable) == before
