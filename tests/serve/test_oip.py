"""Tensors survive the protocol in both spellings, and whatever else is sent is refused with a sentence."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as some
from hypothesis.extra.numpy import array_shapes, arrays

from pennyweight.serve.refused import RefusedError
from pennyweight.serve.wire import oip

KINDS = {"FP32": "<f4", "FP64": "<f8", "INT64": "<i8", "INT8": "i1", "UINT16": "<u2", "BOOL": "?"}
TENSORS = some.sampled_from(sorted(KINDS)).flatmap(
    lambda kind: arrays(
        KINDS[kind],
        array_shapes(min_dims=1, max_dims=3, max_side=4),
        elements={"allow_nan": False, "allow_infinity": False} if kind.startswith("FP") else None,
    ).map(lambda x: (kind, x))
)


def as_json(kind, x, **more):
    return {"inputs": [{"name": "x", "shape": list(x.shape), "datatype": kind, "data": x.ravel().tolist()}], **more}


def as_bytes(kind, x, size=None):
    parameters = {"binary_data_size": x.nbytes if size is None else size}
    tensor = {"name": "x", "shape": list(x.shape), "datatype": kind, "parameters": parameters}
    header = orjson.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}})
    return header + x.tobytes(), len(header)


@given(TENSORS)
def test_what_is_written_as_numbers_or_as_bytes_is_read_as_it_was(tensor):
    kind, x = tensor
    asked = oip.read(json.dumps(as_json(kind, x, id="a")).encode())
    assert asked.rows.dtype == x.dtype
    np.testing.assert_array_equal(asked.rows, x)
    assert (asked.id, asked.binary) == ("a", False)
    asked = oip.read(*as_bytes(kind, x))
    np.testing.assert_array_equal(asked.rows, x)
    assert asked.binary


@given(TENSORS)
def test_an_answer_is_read_back_from_its_bytes_and_from_its_numbers(tensor):
    kind, x = tensor
    ask = oip.read(*as_bytes(kind, x))
    body, headers = oip.written(x, ask, "m", "3")
    cut = int(headers["inference-header-content-length"])
    told = orjson.loads(body[:cut])["outputs"][0]
    assert told["datatype"] == kind
    np.testing.assert_array_equal(np.frombuffer(body[cut:], KINDS[kind]).reshape(told["shape"]), x)
    body, _ = oip.written(x, oip.Ask(x, "", binary=False), "m", "3")
    told = orjson.loads(body)
    assert told["model_version"] == "3"
    np.testing.assert_array_equal(np.array(told["outputs"][0]["data"], KINDS[kind]).reshape(x.shape), x)


@pytest.mark.parametrize(("kind", "most"), [("INT64", 2**63 - 1), ("UINT64", 2**64 - 1), ("FP64", 1e308)])
def test_the_greatest_numbers_are_read_unchanged(kind, most):
    body = {"inputs": [{"name": "x", "shape": [2], "datatype": kind, "data": [0, most]}]}
    assert oip.read(orjson.dumps(body)).rows.tolist() == [0, most]


def test_nested_lists_are_read_too():
    body = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [[1, 2], [3, 4.5]]}]}
    np.testing.assert_array_equal(oip.read(orjson.dumps(body)).rows, [[1, 2], [3, 4.5]])


GOOD = {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}


@pytest.mark.parametrize(
    "wrong",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"inputs": ' + b"[" * 100_000,
        {},
        {"inputs": []},
        {"inputs": [GOOD, GOOD]},
        {"inputs": [GOOD | {"datatype": "BYTES"}]},
        {"inputs": [GOOD | {"shape": [1, 3]}]},
        {"inputs": [GOOD | {"shape": [-1, -2]}]},
        {"inputs": [GOOD | {"shape": [0, 2], "data": []}]},
        {"inputs": [GOOD | {"shape": [2**31, 2**31]}]},
        {"inputs": [GOOD | {"shape": [1] * 30}]},
        {"inputs": [GOOD | {"shape": []}]},
        {"inputs": [GOOD | {"data": ["a", "b"]}]},
        {"inputs": [GOOD | {"data": [1, "b"]}]},
        {"inputs": [GOOD | {"data": {"a": 1}}]},
        {"inputs": [GOOD | {"data": [1, None]}]},
        {"inputs": [GOOD | {"data": ["1", "nan"]}]},
        {"inputs": [GOOD | {"data": [True, False]}]},
        {"inputs": [GOOD | {"data": [1, 1e300]}]},
        {"inputs": [GOOD | {"data": [[1, 1e300]]}]},
        {"inputs": [GOOD | {"data": [[1], 2]}]},
        {"inputs": [GOOD | {"shape": [1], "data": None}]},
        {"inputs": [GOOD | {"data": 1}]},
        {"inputs": [GOOD | {"datatype": "INT64", "data": [1, 2.5]}]},
        {"inputs": [GOOD | {"datatype": "UINT8", "data": [1, -1]}]},
        {"inputs": [GOOD | {"datatype": "BOOL", "data": ["", "a"]}]},
        {"inputs": [GOOD | {"datatype": "INT8", "data": [1, 300]}]},
        {"inputs": [GOOD | {"parameters": {"binary_data_size": 8}}]},
    ],
)
def test_what_is_no_request_is_refused(wrong):
    with pytest.raises(RefusedError) as caught:
        oip.read(wrong if isinstance(wrong, bytes) else orjson.dumps(wrong))
    assert caught.value.status == 400
    assert len(caught.value.why) < 300


@pytest.mark.parametrize(("size", "cut"), [(7, 0), (9, 0), (2**40, 0), (-8, 0), (None, 10_000), (None, -500)])
def test_bytes_that_are_not_those_announced_are_refused(size, cut):
    body, header = as_bytes("FP32", np.ones((1, 2), np.float32), size)
    with pytest.raises(RefusedError):
        oip.read(body, header + cut)


@given(some.binary(max_size=200), some.integers(-5, 250))
def test_noise_is_refused_and_nothing_worse(body, header):
    with pytest.raises(RefusedError):
        oip.read(body, header)
