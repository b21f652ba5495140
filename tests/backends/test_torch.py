"""The torch backend opens jobs, answers, counts and exports modules and ONNX graphs."""

import logging
import warnings
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from pennyweight import backends
from pennyweight.backends.torch import TorchMaterial
from pennyweight.core import DataSpec, Floor, Form, Job, Kind, Op, Spec, Task
from pennyweight.cost.count import flop
from pennyweight.data.splits import Arrays, Splits
from pennyweight.errors import BadInputError, UnknownNameError, UntraceableError
from pennyweight.runtimes.torch_graph import decode

ROWS = 120


def network():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)
    )


def tokens_to_logits():
    return nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9))


def job_of(make_model, x, y, task=Task.CLASSIFY, classes=3):
    rows = Arrays(x, y)
    data = DataSpec(len(x), x[0].nbytes, task, classes)
    spec = Spec(Form.MODULE, (Op("all", Kind.LINEAR, 1, 1),), data)
    metric = {Task.CLASSIFY: "accuracy", Task.REGRESS: "rmse", Task.LANGUAGE: "perplexity"}[task]
    dtype = "int64" if x.dtype.kind == "i" else "float32"
    return Job("small", spec, Floor(metric, 0.01), material=TorchMaterial(make_model, Splits(rows, rows, rows), dtype))


@pytest.fixture(scope="module")
def job():
    generator = np.random.default_rng(0)
    x = generator.normal(size=(ROWS, 1, 8, 8)).astype(np.float32)
    return job_of(network, x, np.repeat([0, 1, 2], [90, 27, 3]))


@pytest.fixture(scope="module")
def torch_backend():
    return backends.load("torch")


def test_backends_are_found_by_their_file_names():
    assert {"torch", "null"} <= set(backends.names())
    assert not {"base", "torch_graph", "torch_onnx"} & set(backends.names())
    with pytest.raises(UnknownNameError, match="torch"):
        backends.load("troch")


def test_opening_twice_with_one_seed_gives_the_same_model_and_leaves_the_generator_alone(torch_backend, job):
    before = torch.get_rng_state()
    one, two, other = (torch_backend.open(job, seed=seed).model for seed in (1, 1, 2))
    assert torch.equal(one[0].weight, two[0].weight)
    assert not torch.equal(one[0].weight, other[0].weight)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_share_of_the_rows_keeps_every_class_and_is_nested(torch_backend, job):
    tenth = torch_backend.open(job, fidelity=0.1).data.train
    third = torch_backend.open(job, fidelity=0.34).data.train
    assert np.bincount(tenth.y).tolist() == [9, 3, 1]
    assert {row.tobytes() for row in tenth.x} < {row.tobytes() for row in third.x}
    work = torch_backend.open(job, fidelity=0.1)
    assert work.spec.data.rows == len(work.data.train) == 13
    assert len(work.data.certify) == ROWS


def test_predictions_do_not_depend_on_how_many_rows_are_asked_or_on_the_mode(torch_backend, job):
    work = torch_backend.open(job)
    many = np.resize(work.data.train.x, (1500, 1, 8, 8))
    answers = torch_backend.predict(work, many)
    assert answers.shape == (1500, 3)
    assert np.allclose(answers[:7], torch_backend.predict(work, many[:7]), atol=1e-6)
    assert work.model.training


@pytest.fixture(scope="module")
def graph(torch_backend, job):
    work = torch_backend.open(job)
    body = torch_backend.export(work, "onnx").file("model.onnx")
    return work.having(model=body, spec=replace(work.spec, form=Form.GRAPH))


def test_the_onnx_graph_answers_like_the_module_for_any_batch(torch_backend, job, graph):
    module = torch_backend.open(job)
    for count in (1, 3, ROWS):
        x = module.data.train.x[:count]
        assert np.allclose(torch_backend.predict(graph, x), torch_backend.predict(module, x), atol=1e-5)


def test_the_onnx_file_is_whole_folded_and_says_nothing_of_where_it_was_made(graph):
    model = onnx.load_from_string(graph.model)
    onnx.checker.check_model(model)
    assert [each.name for each in (*model.graph.input, *model.graph.output)] == ["x", "y"]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert model.opset_import[0].version >= 18
    assert b".py" not in graph.model
    assert not any(each.external_data for each in model.graph.initializer)


def test_exporting_again_is_silent_and_gives_the_same_bytes(torch_backend, job, graph, capfd, caplog):
    with warnings.catch_warnings(), caplog.at_level(logging.WARNING):
        warnings.simplefilter("error")
        again = torch_backend.export(torch_backend.open(job), "onnx")
    assert capfd.readouterr() == ("", "")
    assert not caplog.records
    assert again.digest == torch_backend.export(graph, "onnx").digest


def test_artifacts_say_what_goes_in_and_comes_out(torch_backend, job):
    facts = torch_backend.export(torch_backend.open(job), "torch").facts
    assert facts == {
        "classes": 3, "input_dtype": "float32", "input_shape": [1, 8, 8], "outputs": "logits", "task": "classify",
    }  # fmt: skip


def test_tokens_stay_whole_numbers_in_every_format(torch_backend):
    tokens = np.random.default_rng(0).integers(0, 9, (20, 5))
    work = torch_backend.open(job_of(tokens_to_logits, tokens, tokens, Task.LANGUAGE, 9))
    answers = torch_backend.predict(work, tokens)
    assert answers.shape == (20, 5, 9)
    again = decode(torch_backend.export(work, "torch"))
    assert np.array_equal(again(torch.from_numpy(tokens)).numpy(), answers)
    graph = torch_backend.export(work, "onnx")
    assert graph.facts["input_dtype"] == "int64"
    held = work.having(model=graph.file("model.onnx"), spec=replace(work.spec, form=Form.GRAPH))
    assert np.allclose(torch_backend.predict(held, tokens), answers, atol=1e-6)


def test_a_graph_is_exported_as_it_is_and_never_as_a_module(torch_backend, graph):
    assert torch_backend.export(graph, "onnx").file("model.onnx") == graph.model
    with pytest.raises(BadInputError, match="onnx"):
        torch_backend.export(graph, "torch")
    with pytest.raises(BadInputError, match="torch or onnx"):
        torch_backend.export(graph, "pickle")


def test_module_and_graph_count_the_same_arithmetic(torch_backend, job, graph):
    module = torch_backend.table(torch_backend.open(job))
    assert sum(map(flop, module)) == sum(map(flop, torch_backend.table(graph))) == 2 * (36 * 9 * 4 + 36 * 3)


class Spectral(nn.Module):
    def forward(self, x):
        return torch.special.bessel_j0(x)


def test_an_operator_that_onnx_lacks_is_untraceable(torch_backend, job):
    work = torch_backend.open(job).having(model=Spectral())
    with pytest.raises(UntraceableError, match="ONNX"):
        torch_backend.export(work, "onnx")
