"""Tables of ONNX graphs, float and quantised, against formulas worked out by hand."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from pennyweight.core import Kind
from pennyweight.cost.count import flop, weights
from pennyweight.cost.table_graph import table_of_graph
from pennyweight.errors import CorruptError, UntraceableError


def graph(text, inputs="float[N, 3, 8, 8] x", output="float y", **constants):
    body = f"<ir_version: 10, opset_import: ['' : 21, 'com.microsoft' : 1]> g ({inputs}) => ({output}) {{ {text} }}"
    model = parser.parse_model(body.replace("'", '"'))
    for name, value in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    return model.SerializeToString()


def zeros(*shape, dtype=np.float32):
    return np.zeros(shape, dtype)


def only(ops, kind):
    (op,) = [op for op in ops if op.kind is kind]
    return op


def test_a_convolution_is_counted_for_a_batch_of_one():
    ops = table_of_graph(graph("c = Conv<pads = [0, 0, 0, 0]>(x, w, b)  y = Relu(c)", w=zeros(4, 3, 3, 3), b=zeros(4)))
    conv = only(ops, Kind.CONV)
    assert flop(conv) == 2 * 4 * 3 * 9 * 36
    assert weights(conv) == 4 * 27 + 4
    assert (conv.intake, only(ops, Kind.POINTWISE).positions) == (64 / 36, 36)


def test_transposed_and_grouped_convolutions_are_counted_over_the_smaller_grid_and_group_by_group():
    ops = table_of_graph(
        graph(
            "c = Conv<group = 3, pads = [1, 1, 1, 1]>(x, w)  y = ConvTranspose<strides = [2, 2]>(c, u)",
            w=zeros(3, 1, 3, 3),
            u=zeros(3, 5, 2, 2),
        )
    )
    assert [flop(op) for op in ops] == [2 * 9 * 3 * 64, 2 * 3 * 5 * 4 * 64]
    assert [weights(op) for op in ops] == [27, 60]


def test_a_product_with_a_constant_is_a_linear_layer_and_with_an_activation_is_not():
    text = "a = MatMul(x, w)  b = Add(a, bias)  t = Transpose<perm = [0, 2, 1]>(b)  y = MatMul(b, t)"
    ops = table_of_graph(graph(text, inputs="float[N, 5, 8] x", w=zeros(8, 6), bias=zeros(6)))
    linear, product = only(ops, Kind.LINEAR), only(ops, Kind.MATMUL)
    assert (flop(linear), weights(linear)) == (2 * 5 * 8 * 6, 48)
    assert (flop(product), weights(product)) == (2 * 5 * 6 * 5, 0)
    assert weights(only(ops, Kind.POINTWISE)) == 6


def test_gemm_einsum_and_embedding_hold_their_weights():
    text = """
        e = Gather(table, x)  s = Einsum<equation = 'btw,wh->bth'>(e, w)
        f = Flatten(s)  y = Gemm<transB = 1>(f, v, b)
    """
    constants = {"table": zeros(50, 4), "w": zeros(4, 6), "v": zeros(2, 18), "b": zeros(2)}
    ops = table_of_graph(graph(text, inputs="int64[N, 3] x", **constants))
    assert [op.kind for op in ops] == [Kind.EMBED, Kind.LINEAR, Kind.LINEAR]
    assert [weights(op) for op in ops] == [200, 24, 36 + 2]
    assert [flop(op) for op in ops] == [0, 2 * 3 * 24, 2 * 36]


def test_a_table_tied_to_the_last_layer_is_stored_once():
    text = "e = Gather(table, x)  t = Transpose<perm = [1, 0]>(table)  y = MatMul(e, t)"
    ops = table_of_graph(graph(text, inputs="int64[N, 3] x", table=zeros(50, 4)))
    assert sum(map(weights, ops)) == 200
    assert sum(map(flop, ops)) == 2 * 3 * 4 * 50


def test_quantised_weights_and_inputs_count_eight_bits():
    text = """
        xq = QuantizeLinear(x, s, z)  xd = DequantizeLinear(xq, s, z)
        wd = DequantizeLinear(wq, s, z)  bd = DequantizeLinear(bq, s)
        c = Conv(xd, wd, bd)
        cq = QuantizeLinear(c, s, z)  cd = DequantizeLinear(cq, s, z)
        y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(cd)
    """
    scale, zero = np.float32(0.1).reshape(()), np.int8(0).reshape(())
    wq, bq = zeros(4, 3, 3, 3, dtype=np.int8), zeros(4, dtype=np.int32)
    conv, pool = table_of_graph(graph(text, s=scale, z=zero, wq=wq, bq=bq))
    assert (conv.weight_bits, conv.act_bits, conv.disk_bits, conv.per_out) == (8, 8, 8, 1)
    assert (pool.kind, pool.act_bits, pool.intake) == (Kind.POOL, 8, 4)


def test_quantised_weights_alone_leave_the_arithmetic_in_floats():
    text = "wd = DequantizeLinear(wq, s)  y = MatMul(x, wd)"
    scale, wq = np.float32(0.1).reshape(()), zeros(8, 6, dtype=np.int8)
    (op,) = table_of_graph(graph(text, inputs="float[N, 8] x", s=scale, wq=wq))
    assert (op.weight_bits, op.act_bits, op.disk_bits) == (8, 32, 8)


def test_integer_operators_count_eight_bits():
    text = """
        q, s, z = DynamicQuantizeLinear(x)  m = MatMulInteger(q, w, z)
        f = Cast<to = 1>(m)  y = Mul(f, s)
    """
    op = only(table_of_graph(graph(text, inputs="float[N, 8] x", w=zeros(8, 6, dtype=np.int8))), Kind.LINEAR)
    assert (flop(op), op.weight_bits, op.act_bits) == (96, 8, 8)
    text = "y = QLinearConv(x, s, z, w, s, z, s, z, b)"
    constants = {"w": zeros(4, 3, 3, 3, dtype=np.int8), "b": zeros(4, dtype=np.int32), "z": np.int8(0).reshape(())}
    constants["s"] = np.float32(0.1).reshape(())
    (op,) = table_of_graph(graph(text, inputs="int8[N, 3, 8, 8] x", output="int8 y", **constants))
    assert (flop(op), op.weight_bits, op.act_bits, op.per_out) == (2 * 4 * 27 * 36, 8, 8, 1)


def test_packed_four_bit_weights_count_four_bits():
    text = "q = com.microsoft.MatMulNBits<K = 32, N = 6, bits = 4, block_size = 16>(x, w, s)  y = Relu(q)"
    packed = {"w": zeros(6, 2, 8, dtype=np.uint8), "s": zeros(12)}
    linear, relu = table_of_graph(graph(text, inputs="float[N, 5, 32] x", **packed))
    assert (flop(linear), weights(linear), linear.weight_bits) == (2 * 5 * 32 * 6, 192, 4)
    assert (relu.n_out, relu.positions) == (6, 5)


def test_recurrent_layers_multiply_both_their_matrices_at_every_step():
    constants = {"w": zeros(2, 16, 3), "r": zeros(2, 16, 4), "b": zeros(2, 32)}
    text = "t = Transpose<perm = [1, 0, 2]>(x)  y, h = LSTM<hidden_size = 4, direction = 'bidirectional'>(t, w, r, b)"
    ops = table_of_graph(graph(text, inputs="float[N, 7, 3] x", **constants))
    assert sum(map(flop, ops)) == 2 * 2 * 7 * 16 * (3 + 4)
    assert sum(map(weights, ops)) == 2 * (16 * 7 + 32)


def test_shapes_that_the_graph_computes_are_followed():
    text = """
        s = Shape(x)  n = Slice(s, zero, one)  d = Concat<axis = 0>(n, rest)
        r = Reshape(x, d)  y = MatMul(r, w)
    """
    numbers = {"zero": [0], "one": [1], "rest": [6, -1]}
    constants = {name: np.array(value, np.int64) for name, value in numbers.items()}
    ops = table_of_graph(graph(text, w=zeros(32, 5), **constants))
    assert [(op.kind, op.positions) for op in ops] == [(Kind.LINEAR, 6)]
    assert sum(map(weights, ops)) == 160, "numbers that describe shapes are no weights"


def test_equal_layers_are_one_row():
    text = "a = MatMul(x, w1)  b = Relu(a)  c = MatMul(b, w2)  d = Relu(c)  e = MatMul(d, w3)  y = Relu(e)"
    ops = table_of_graph(graph(text, inputs="float[N, 6] x", w1=zeros(6, 6), w2=zeros(6, 6), w3=zeros(6, 6)))
    assert [(op.kind, op.times) for op in ops] == [(Kind.LINEAR, 3), (Kind.POINTWISE, 3)]
    assert sum(map(weights, ops)) == 108


def tree_model():
    """Two trees over four features: one with a split and two leaves, one with two splits and three leaves."""
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        n_targets=1,
        nodes_treeids=[0, 0, 0, 1, 1, 1, 1, 1],
        nodes_nodeids=[0, 1, 2, 0, 1, 2, 3, 4],
        nodes_featureids=[0, 0, 0, 3, 0, 1, 0, 0],
        nodes_values=[0.5] * 8,
        nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "LEAF", "BRANCH_LEQ", "LEAF", "LEAF"],
        nodes_truenodeids=[1, 0, 0, 1, 0, 3, 0, 0],
        nodes_falsenodeids=[2, 0, 0, 2, 0, 4, 0, 0],
        target_treeids=[0, 0, 1, 1, 1],
        target_nodeids=[1, 2, 1, 3, 4],
        target_ids=[0] * 5,
        target_weights=[1.0] * 5,
    )
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    return helper.make_model(helper.make_graph([node], "g", [x], [y]), opset_imports=opsets).SerializeToString()


def test_an_ensemble_of_trees_is_one_row_of_mean_size_and_depth():
    (op,) = table_of_graph(tree_model())
    assert (op.kind, op.times, op.n_in, op.n_out, op.fan) == (Kind.TREE, 2, 4, 1, 4)
    assert op.positions == pytest.approx((1 + (1 + 2 + 2) / 3) / 2)


def test_a_real_forest_keeps_its_size_when_it_becomes_a_graph():
    from skl2onnx import to_onnx
    from sklearn.datasets import load_iris
    from sklearn.ensemble import RandomForestClassifier

    from pennyweight.cost.table_estimator import table_of_estimator

    x, y = load_iris(return_X_y=True)
    forest = RandomForestClassifier(5, random_state=0).fit(x, y)
    proto = to_onnx(forest, x[:1].astype(np.float32), options={"zipmap": False})
    tree = only(table_of_graph(proto.SerializeToString()), Kind.TREE)
    (mine,) = table_of_estimator(forest, 4, 3)
    assert (tree.times, tree.n_in, tree.n_out, tree.fan) == (mine.times, mine.n_in, mine.n_out, mine.fan)
    assert tree.positions == pytest.approx(mine.positions, rel=0.5)


def test_bytes_that_are_no_model_are_refused():
    with pytest.raises(CorruptError, match="export the model again"):
        table_of_graph(b"\x00not a model")
    with pytest.raises(CorruptError):
        table_of_graph(b"")


def test_a_branch_is_refused_by_name():
    one = helper.make_graph([helper.make_node("Relu", ["x"], ["a"])], "a", [], [onnx.ValueInfoProto(name="a")])
    two = helper.make_graph([helper.make_node("Neg", ["x"], ["b"])], "b", [], [onnx.ValueInfoProto(name="b")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=one, else_branch=two)
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    c = helper.make_tensor_value_info("c", TensorProto.BOOL, [1])
    body = helper.make_graph([node], "g", [x, c], [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)])
    with pytest.raises(UntraceableError, match="If"):
        table_of_graph(helper.make_model(body).SerializeToString())


def test_an_axis_of_unknown_size_is_refused_unless_it_is_the_batch():
    with pytest.raises(UntraceableError, match=r"Axis 1 .* 'x'"):
        table_of_graph(graph("y = Relu(x)", inputs="float[N, T] x"))
