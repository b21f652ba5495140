"""A graph that asks another is taken apart for counting, and one that is not what it says is refused."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from pennyweight.backends.onnx_joined import asked_next
from pennyweight.cost.onnx_asked import pieces
from pennyweight.cost.table_graph import table_of_graph
from pennyweight.errors import CorruptError


def linear(n_in=6, n_out=3):
    """A graph of one matrix product."""
    weight = numpy_helper.from_array(np.ones((n_in, n_out), dtype=np.float32), "w")
    x, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", n_in), ("y", n_out))
    )
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "linear", [x], [y], [weight])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


@pytest.fixture
def joined():
    return asked_next(linear(), linear(), 0.9, 0.25, logits=True)


def changed(body, change):
    model = onnx.load_model_from_string(body)
    change(next(node for node in model.graph.node if node.op_type == "If"))
    return model.SerializeToString()


def test_a_graph_that_asks_nobody_is_one_piece():
    body = linear()
    assert list(pieces(body)) == [(1.0, body)]


def test_each_piece_has_its_share_and_its_own_operators(joined):
    assert [share for share, _ in pieces(joined)] == [1.0, 0.25]
    products = [(op.share, op.n_in, op.n_out) for op in table_of_graph(joined) if op.kind == "linear"]
    assert products == [(1.0, 6, 3), (0.25, 6, 3)]


@pytest.mark.parametrize("text", ["much", "1.5", "-1", "nan"])
def test_a_share_that_is_none_is_refused(joined, text):
    with pytest.raises(CorruptError, match="goes up"):
        table_of_graph(changed(joined, lambda node: setattr(node.metadata_props[0], "value", text)))


def test_a_branch_that_does_not_say_where_rows_go_is_refused(joined):
    with pytest.raises(CorruptError, match="not where"):
        table_of_graph(changed(joined, lambda node: node.attribute[1].g.value_info.pop()))
    with pytest.raises(CorruptError, match="no branch"):
        table_of_graph(changed(joined, lambda node: node.attribute.pop(1)))
    with pytest.raises(CorruptError, match="not an ONNX model"):
        table_of_graph(b"no model")
