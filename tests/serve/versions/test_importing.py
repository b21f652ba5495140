"""Artifacts become versions, from a folder, to a URL, and from what MLflow has written; nothing in it is executed."""

from uuid import uuid4

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from pennyweight.engine.answers import open_session, probes
from pennyweight.errors import BadInputError, CorruptError
from pennyweight.serve.versions.importing import imported, is_mlflow
from pennyweight.serve.versions.registering import fetch, register
from pennyweight.store.team.opened import opened

DESCRIPTION = """
flavors:
  onnx:
    data: model.onnx
    onnx_version: 1.19.0
  python_function:
    loader_module: evil
model_uuid: 0
"""


def graph(batch="batch", width=3):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, width])
    out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, width])
    two = helper.make_tensor("two", TensorProto.FLOAT, [1], [2.0])
    made = helper.make_graph([helper.make_node("Mul", ["x", "two"], ["y"])], "double", [given], [out], [two])
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


@pytest.fixture
def folder(tmp_path):
    """A model folder as MLflow writes one."""
    place = tmp_path / "model"
    place.mkdir()
    (place / "MLmodel").write_text(DESCRIPTION)
    onnx.save(graph(), place / "model.onnx")
    return place


def test_an_onnx_model_of_mlflow_answers_as_it_did(folder):
    assert is_mlflow(folder)
    artifact = imported(folder)
    x, recorded = probes(artifact)
    np.testing.assert_allclose(recorded, 2 * x)
    np.testing.assert_allclose(open_session(artifact).predict(x), 2 * x)


def test_it_becomes_a_version_that_is_kept_at_a_url(folder, tmp_path):
    url = f"memory://{uuid4().hex}"
    with opened(str(tmp_path / "team.db")) as engine, engine.begin() as link:
        made = register(link, folder, "double", url)
        assert (str(made), made.place) == ("double@1", url)
        assert register(link, folder, "double", url).number == 1
    assert fetch(made).digest == made.digest == imported(folder).digest


@pytest.mark.parametrize(
    ("description", "said"),
    [
        ("flavors:\n  sklearn:\n    pickled_model: model.pkl", "holds no ONNX model"),
        ("[]", "holds no ONNX model"),
        ("flavors:\n  onnx:\n    data: ../../etc/passwd", "says that its model is"),
        ("flavors:\n  onnx:\n    data: /etc/passwd", "says that its model is"),
        ("flavors:\n  onnx:\n    data: [1]", "says that its model is"),
    ],
)
def test_what_is_no_onnx_model_beside_its_description_is_refused(folder, description, said):
    (folder / "MLmodel").write_text(description)
    with pytest.raises(BadInputError, match=said):
        imported(folder)


def test_yaml_that_would_run_code_is_refused(folder, tmp_path):
    mark = tmp_path / "ran"
    (folder / "MLmodel").write_text(f"flavors: !!python/object/apply:os.system ['touch {mark}']")
    with pytest.raises(CorruptError, match="no YAML"):
        imported(folder)
    assert not mark.exists()


def test_rows_of_any_shape_and_a_damaged_graph_are_refused(folder):
    onnx.save(graph(width="any"), folder / "model.onnx")
    with pytest.raises(BadInputError, match="no fixed shape"):
        imported(folder)
    (folder / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(CorruptError):
        imported(folder)
