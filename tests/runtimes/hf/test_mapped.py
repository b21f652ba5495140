"""Tensors are taken from where the index says, and never more bytes than there are."""

import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.runtimes.hf.mapped import Mapped

LAYER = "model.layers.0.mlp.up_proj"


def packed(folder, rows, columns, groups=1):
    parts = {
        "weight_packed": np.ones((4, 4), np.int32),
        "weight_scale": np.ones((4, groups), np.float32),
        "weight_shape": np.array([rows, columns], np.int64),
    }
    save_file({f"{LAYER}.{name}": each for name, each in parts.items()}, folder / "model.safetensors")
    return Mapped(folder)


def test_packed_weights_are_taken_if_they_are_of_the_shape_they_are_said_to_be(tmp_path):
    assert not packed(tmp_path, 4, 32).refused(LAYER)
    assert list(packed(tmp_path, 4, 32).weight(LAYER).shape) == [4, 32]


@pytest.mark.parametrize(("rows", "groups"), [(400_000, 1), (1, 1), (4, 3)])
def test_packed_weights_that_would_be_read_beyond_their_end_are_refused(tmp_path, rows, groups):
    tensors = packed(tmp_path, rows, 32, groups)
    assert "not of the shape" in tensors.refused(LAYER)
    with pytest.raises(CorruptError, match="another number of bytes"):
        tensors.weight(LAYER)


def test_of_a_tensor_in_two_files_the_index_decides(tmp_path):
    for number in (1, 2):
        save_file({"a": np.full(2, number, np.float32)}, tmp_path / f"{number}.safetensors")
    (tmp_path / "model.safetensors.index.json").write_text(
        json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})
    )
    found = Mapped(tmp_path)
    assert found.array("a").tolist() == [1, 1]
    with pytest.raises(BadInputError, match="no tensor 'b'"):
        found.constant("b")
