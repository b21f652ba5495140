"""OpenVINO answers as the model did, for the usual batch and for others, from ONNX and from its own files."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from pennyweight import runtimes
from pennyweight.backends.torch_onnx import to_onnx
from pennyweight.core import Artifact, ServeSpec
from pennyweight.errors import BadInputError, CorruptError

pytest.importorskip("openvino")
OPENVINO = runtimes.load("openvino")
META = (("input_dtype", "float32"), ("input_shape", [1, 8, 8]))


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3)).eval()


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).normal(size=(9, 1, 8, 8)).astype(np.float32)


@pytest.fixture(scope="module")
def model(network, x):
    return Artifact("onnx", (("model.onnx", to_onnx(network, x[:2])),), META)


@pytest.fixture(scope="module")
def wanted(network, x):
    with torch.inference_mode():
        return network(torch.from_numpy(x)).numpy()


def serve(batch=1, precision="float32"):
    return ServeSpec("openvino", batch, 1, precision)


def test_it_works_here():
    assert OPENVINO.available()


@pytest.mark.parametrize("usual", [1, 4])
def test_answers_are_those_of_the_module_for_the_usual_batch_and_for_others(model, x, wanted, usual):
    session = OPENVINO.load(model, serve(usual))
    for batch in (1, 4, 9, 4, 1):
        assert np.abs(session.predict(x[:batch]) - wanted[:batch]).max() < 1e-5


def test_an_answer_stays_as_it_was_when_the_next_one_is_given(model, x, wanted):
    session = OPENVINO.load(model, serve())
    first = session.predict(x[:1])
    many = session.predict(x[:3])
    session.predict(x[1:2])
    session.predict(x[3:6])
    assert np.abs(first - wanted[:1]).max() < 1e-5
    assert np.abs(many - wanted[:3]).max() < 1e-5


def test_bfloat16_is_close_and_float32_is_not_bfloat16(model, x, wanted):
    short = OPENVINO.load(model, serve(9, "bfloat16")).predict(x)
    assert np.abs(short - wanted).max() < 0.05 * np.abs(wanted).max()
    full = OPENVINO.load(model, serve(9)).predict(x)
    assert np.abs(full - wanted).max() < 1e-5


def test_other_types_and_views_are_taken_too(model, network, x):
    turned = x.astype(np.float64).transpose(0, 1, 3, 2)
    with torch.inference_mode():
        wanted = network(torch.from_numpy(np.ascontiguousarray(turned, dtype=np.float32))).numpy()
    for usual in (9, 1):
        assert np.abs(OPENVINO.load(model, serve(usual)).predict(turned) - wanted).max() < 1e-5


def test_a_wrong_shape_is_refused_with_what_was_given(model, x):
    session = OPENVINO.load(model, serve())
    with pytest.raises(BadInputError, match=r"\(9, 1, 8, 3\)"):
        session.predict(x[..., :3])


def test_threads_may_call_one_session_at_once(model, x, wanted):
    session = OPENVINO.load(model, serve())
    wrong = []

    def ask(row):
        mine = x[row : row + 1]
        wrong.extend(row for _ in range(50) if np.abs(session.predict(mine) - wanted[row]).max() > 1e-5)

    threads = [threading.Thread(target=ask, args=(row,)) for row in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_prepared_files_answer_the_same_and_have_the_same_name_each_time(model, x, wanted):
    prepared = OPENVINO.prepare(model, serve())
    assert prepared.format == "openvino"
    assert dict(prepared.files).keys() == {"model.xml", "model.bin"}
    assert prepared.meta == model.meta
    assert OPENVINO.prepare(model, serve()).digest == prepared.digest
    assert OPENVINO.prepare(prepared, serve()) is prepared
    assert np.abs(OPENVINO.load(prepared, serve(9)).predict(x) - wanted).max() < 1e-5


@pytest.mark.parametrize("name", ["model.xml", "model.bin"])
def test_broken_or_missing_files_are_corrupt(model, name):
    files = dict(OPENVINO.prepare(model, serve()).files)
    cut = {**files, name: files[name][: len(files[name]) // 2]}
    with pytest.raises(CorruptError):
        OPENVINO.load(Artifact("openvino", tuple(cut.items()), META), serve())
    del files[name]
    with pytest.raises(CorruptError, match=name):
        OPENVINO.load(Artifact("openvino", tuple(files.items()), META), serve())


def test_broken_onnx_is_corrupt(model):
    with pytest.raises(CorruptError):
        OPENVINO.load(Artifact("onnx", (("model.onnx", model.file("model.onnx")[:50]),), META), serve())
