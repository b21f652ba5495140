"""The runtime lever changes who serves, and nothing else."""

from dataclasses import replace

import numpy as np
import pytest

from pennyweight import backends, runtimes
from pennyweight.core import Form, ServeSpec
from pennyweight.engine.making import trained
from pennyweight.errors import BadInputError, NoEffectError, UnknownNameError
from pennyweight.levers.runtime import Runtime
from pennyweight.runtimes import compiled
from pennyweight.testing import cnn_job, forest_job, mlp_job

TORCH = backends.load("torch")


@pytest.fixture(scope="module")
def mlp():
    return trained(TORCH.open(mlp_job()))


def test_only_the_serving_changes(mlp):
    served = Runtime("openvino", "bfloat16", 2).pull(mlp)
    assert served.spec.serve == replace(mlp.spec.serve, runtime="openvino", precision="bfloat16", threads=2)
    assert replace(served.spec, serve=mlp.spec.serve) == mlp.spec
    assert served.model is mlp.model
    assert served.spec == Runtime("openvino", "bfloat16", 2).rewrite(mlp.spec)


def test_every_choice_can_really_serve_the_job(mlp):
    x = mlp.data.select.x
    wanted = TORCH.predict(mlp, x)
    tried = [lever for lever in Runtime.choices(mlp_job()) if lever.to != "compiled"]
    assert {lever.to for lever in tried} >= {"onnxruntime", "openvino"}
    for lever in tried:
        assert lever.fits(mlp.spec)
        spec = lever.pull(mlp).spec
        runtime = runtimes.load(spec.serve.runtime)
        session = runtime.load(TORCH.export(mlp, runtime.formats[0]), spec.serve)
        close = 1e-4 if lever.precision == "float32" else 0.05
        assert np.abs(session.predict(x) - wanted).max() <= close * np.abs(wanted).max()


def test_choices_leave_out_what_is_served_already_and_put_full_precision_first():
    found = list(Runtime.choices(cnn_job()))
    assert Runtime("torch") not in found
    precise = [lever.precision == "float32" for lever in found]
    assert precise == sorted(precise, reverse=True)
    assert all(lever.threads == 1 for lever in found)


def test_estimators_get_runtimes_that_load_trees():
    assert {lever.to for lever in Runtime.choices(forest_job())} <= {"onnxruntime", "openvino", "sklearn"}
    verdict = Runtime("compiled").fits(forest_job().spec)
    assert not verdict
    assert "estimator" in verdict.reason


def test_a_quantised_graph_is_no_torch_module_any_more(mlp):
    graph = replace(mlp.spec, form=Form.GRAPH, serve=ServeSpec("onnxruntime"))
    for name in ("torch", "compiled"):
        verdict = Runtime(name).fits(graph)
        assert not verdict
        assert "quantised graph" in verdict.reason
    assert Runtime("openvino").fits(graph)


def test_what_changes_nothing_is_refused_with_a_reason(mlp):
    same = Runtime(mlp.spec.serve.runtime)
    assert "already" in same.fits(mlp.spec).reason
    with pytest.raises(NoEffectError, match="another runtime"):
        same.pull(mlp)


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    compiled._compiler.cache_clear()
    yield
    compiled._compiler.cache_clear()


def test_what_a_runtime_lacks_is_said_where_it_is_missing(mlp, no_compiler):
    verdict = Runtime("compiled").fits(mlp.spec)
    assert not verdict
    assert "g++" in verdict.reason
    assert "compiled" not in {lever.to for lever in Runtime.choices(mlp_job())}


def test_settings_there_are_none_of_are_refused_when_made():
    with pytest.raises(UnknownNameError, match="openvino"):
        Runtime("openvin")
    with pytest.raises(BadInputError, match="float32"):
        Runtime("onnxruntime", "bfloat16")
    with pytest.raises(BadInputError, match="0 threads"):
        Runtime("onnxruntime", threads=0)
