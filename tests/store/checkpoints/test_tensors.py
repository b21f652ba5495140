"""A head of a safetensors file is believed only where it is consistent with the file."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from safetensors.numpy import save_file

from pennyweight.errors import CorruptError
from pennyweight.store.checkpoints.tensors import tensors_in


def written(path, head, body=b"\0" * 8):
    text = head if isinstance(head, bytes) else json.dumps(head).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def one(**facts):
    return {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8], **facts}}


def test_what_the_library_wrote_is_read(tmp_path):
    arrays = {"b": np.ones((2, 3), np.float32), "a": np.zeros(5, np.float16), "none": np.zeros((0, 4), np.int8)}
    save_file(arrays, tmp_path / "x.safetensors", metadata={"format": "np"})
    found = tensors_in(tmp_path / "x.safetensors")
    body = (tmp_path / "x.safetensors").read_bytes()
    assert {name: tensor.shape for name, tensor in found.items()} == {"b": (2, 3), "a": (5,), "none": (0, 4)}
    for name, tensor in found.items():
        assert body[tensor.start : tensor.start + tensor.byte] == arrays[name].tobytes()


@pytest.mark.parametrize(
    "head",
    [
        b"{",
        b"[]",
        b'{"a": 3}',
        one(dtype="F31"),
        one(dtype=["F32"]),
        one(shape=[3]),
        one(shape=[-2]),
        one(shape=[True, 2]),
        one(shape=2),
        one(data_offsets=[0]),
        one(data_offsets=[0, 8.0]),
        one(data_offsets=[8, 16]),
        one(shape=[4], data_offsets=[0, 16]),
        one() | {"b": one()["a"]},
        one(shape=[1], data_offsets=[0, 4]),
        b"[" * 100_000,
    ],
)
def test_a_head_that_contradicts_itself_or_the_file_is_refused(tmp_path, head):
    with pytest.raises(CorruptError):
        tensors_in(written(tmp_path / "x", head))


@given(some.binary(max_size=300))
def test_bytes_of_any_kind_are_tensors_or_a_sentence(tmp_path_factory, body):
    path = tmp_path_factory.mktemp("any") / "x"
    path.write_bytes(body)
    found = {}
    with contextlib.suppress(CorruptError):
        found = tensors_in(path)
    assert found == {}
