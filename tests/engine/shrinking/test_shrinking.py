"""A checkpoint is rounded piece by piece; others' code reads what comes out, and it is what arithmetic gives."""

import json

import numpy as np
import pytest
from checkpoints import as_float, named, write
from safetensors import safe_open
from safetensors.torch import load_file

from pennyweight.core import Phase
from pennyweight.engine.shrinking import Wish, check, plan, shrink
from pennyweight.engine.shrinking import streaming as line
from pennyweight.errors import CorruptError
from pennyweight.store.ledger import Ledger

BITS = {"int4": 4, "int8": 8}


@pytest.fixture(autouse=True)  # ruff: ignore[pytest-fixture-autouse] - no test may book in a real ledger
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("PENNYWEIGHT_HOME", str(tmp_path / "home"))


def read_back(out):
    index = json.loads((out / "model.safetensors.index.json").read_text())["weight_map"]
    found = {}
    for file in sorted(set(index.values())):
        found |= load_file(out / file)
    assert set(found) == set(index)
    return found


def codes_of(words, bits):
    """Codes out of int32 words, the first in the lowest bits: the slow way."""
    whole = words.numpy().astype(np.int64) & 0xFFFFFFFF
    parts = [(whole >> shift) & ((1 << bits) - 1) for shift in range(0, 32, bits)]
    return np.stack(parts, axis=-1).reshape(len(whole), -1) - (1 << (bits - 1))


@pytest.mark.parametrize("to", ["int4", "int8"])
@pytest.mark.parametrize(("dtype", "shards"), [("BF16", 2), ("F16", 1), ("F32", 3)])
def test_every_weight_is_the_nearest_multiple_of_a_scale_that_others_can_read(tmp_path, to, dtype, shards):
    given = write(tmp_path / "tiny", dtype, shards)
    shrink(plan(tmp_path / "tiny", Wish(to, shard_byte=400_000)), tmp_path / "out")
    found, linears = read_back(tmp_path / "out"), 0
    for name, (kind, array) in given.items():
        if "_proj" not in name:
            assert found[name].float().numpy() == pytest.approx(as_float(kind, array), abs=0)
            continue
        linears += 1
        scale = found[f"{name}_scale"].float().numpy()
        assert found[f"{name}_scale"].dtype == found["lm_head.weight"].dtype
        assert tuple(found[f"{name}_shape"].tolist()) == array.shape
        codes = codes_of(found[f"{name}_packed"], BITS[to]).reshape(*scale.shape, 128)
        groups = as_float(kind, array).reshape(codes.shape)
        high = (1 << (BITS[to] - 1)) - 1
        apart = np.abs(codes * scale[..., None] - groups)
        inside = np.abs(groups) <= high * scale[..., None]
        assert (apart[inside] <= (0.5 + 1e-4) * np.broadcast_to(scale[..., None], codes.shape)[inside]).all()
        assert apart.max() <= 0.51 * scale.max() * (1.03 if BITS[to] == 4 else 1.3)
        assert scale == pytest.approx(np.abs(groups).max(axis=-1) / (high + 0.5), rel=2**-8)
    assert linears == 14


def test_the_config_says_how_and_what_was_left_alone(tmp_path):
    write(tmp_path / "tiny")
    shrink(plan(tmp_path / "tiny", Wish("int4", group=64, keep=("layers.1.mlp",))), tmp_path / "out")
    said = json.loads((tmp_path / "out/config.json").read_text())
    assert said["hidden_size"] == 256
    how = said["quantization_config"]
    assert (how["quant_method"], how["format"]) == ("compressed-tensors", "pack-quantized")
    assert how["config_groups"]["group_0"]["weights"]["group_size"] == 64
    assert how["ignore"] == ["lm_head", *(f"model.layers.1.mlp.{name}_proj" for name in ("down", "gate", "up"))]
    assert "model.layers.1.mlp.up_proj.weight" in read_back(tmp_path / "out")
    assert (tmp_path / "out/tokenizer.json").read_text() == '{"version": "1.0"}'
    assert not (tmp_path / "out/run_me.py").exists()


def test_pieces_smaller_than_a_tensor_give_the_same_bytes(tmp_path, monkeypatch):
    write(tmp_path / "tiny")
    shrink(plan(tmp_path / "tiny", Wish()), tmp_path / "whole")
    monkeypatch.setattr(line, "PIECE_BYTE", 5000)
    shrink(plan(tmp_path / "tiny", Wish()), tmp_path / "pieces")
    file = "model-00001-of-00001.safetensors"
    assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "pieces" / file).read_bytes()


def test_tensors_of_a_shard_begin_where_their_numbers_may(tmp_path):
    write(tmp_path / "tiny", vocab=95)
    shrink(plan(tmp_path / "tiny", Wish("int4", group=256)), tmp_path / "out")
    file = tmp_path / "out/model-00001-of-00001.safetensors"
    body = file.read_bytes()
    length = int.from_bytes(body[:8], "little")
    assert length % 8 == 0
    sizes = {"I64": 8, "I32": 4, "BF16": 2}
    head = json.loads(body[8 : 8 + length])
    head.pop("__metadata__")
    assert len(head) == len(named()) + 2 * 14
    assert all(each["data_offsets"][0] % sizes[each["dtype"]] == 0 for each in head.values())
    with safe_open(file, "np") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_a_tensor_that_groups_do_not_divide_is_kept_whole_and_said(tmp_path):
    write(tmp_path / "tiny", ffn=480)
    made = plan(tmp_path / "tiny", Wish("int4"))
    assert set(made.choice.kept) == {f"model.layers.{n}.mlp.down_proj.weight" for n in (0, 1)}
    assert set(made.choice.kept.values()) == {"its 480 inputs are no multiple of 128"}
    assert "model.layers.0.mlp.down_proj" in made.choice.ignored


def test_what_it_took_is_on_the_ledger_and_memory_stays_below_what_was_said(tmp_path):
    write(tmp_path / "tiny")
    receipt = shrink(plan(tmp_path / "tiny", Wish()), tmp_path / "out")
    with Ledger(tmp_path / "home/ledger.db") as ledger:
        (entry,) = ledger.entries(phase=Phase.COMPRESS)
    assert entry.job == "shrink tiny"
    assert entry.cost.device_s == pytest.approx(receipt.cpu_s)
    assert 0 < receipt.peak_byte < receipt.most_byte
    assert receipt.out_byte < 0.5 * receipt.in_byte


def test_a_check_measures_how_far_each_block_moved(tmp_path):
    given = write(tmp_path / "tiny")
    shrink(plan(tmp_path / "tiny", Wish("int4")), tmp_path / "four")
    shrink(plan(tmp_path / "tiny", Wish("int8")), tmp_path / "eight")
    four, eight = check(tmp_path / "tiny", tmp_path / "four"), check(tmp_path / "tiny", tmp_path / "eight")
    assert 0.08 < four.whole < 0.14
    assert 12 < four.whole / eight.whole < 20
    assert list(four.blocks) == [0, 1]
    name = "model.layers.1.mlp.up_proj.weight"
    found, weights = read_back(tmp_path / "four"), as_float(*given[name])
    scale = found[f"{name}_scale"].float().numpy()[..., None]
    made = (codes_of(found[f"{name}_packed"], 4).reshape(*scale.shape[:2], 128) * scale).reshape(weights.shape)
    assert four.tensors[name] == pytest.approx(np.linalg.norm(made - weights) / np.linalg.norm(weights), rel=1e-3)


def test_a_byte_that_changed_on_the_disk_is_found(tmp_path):
    write(tmp_path / "tiny")
    shrink(plan(tmp_path / "tiny", Wish()), tmp_path / "out")
    file = tmp_path / "out/model-00001-of-00001.safetensors"
    body = bytearray(file.read_bytes())
    body[-1000] ^= 1
    file.write_bytes(body)
    with pytest.raises(CorruptError, match="not what was written"):
        check(tmp_path / "tiny", tmp_path / "out")


def test_weights_of_zero_and_tiny_ones_are_rounded_without_a_warning(tmp_path):
    tensors = write(tmp_path / "tiny", "F16", 1)
    from checkpoints import save

    array = tensors["model.layers.0.mlp.up_proj.weight"][1]
    array[0], array[1], array[2, :128] = 0, 6e-8, 1e-6
    save(tmp_path / "tiny/model.safetensors", tensors)
    shrink(plan(tmp_path / "tiny", Wish()), tmp_path / "out")
    found = read_back(tmp_path / "out")
    name = "model.layers.0.mlp.up_proj.weight"
    codes = codes_of(found[f"{name}_packed"], 4)
    assert (codes[0] == 0).all()
    assert np.abs(codes[1] * found[f"{name}_scale"].float().numpy()[1].repeat(128) - 6e-8).max() <= 6.1e-8
    assert (codes[2, :128] > 0).all()


def test_mxfp4_is_a_power_of_two_and_eight_sizes(tmp_path):
    given = write(tmp_path / "tiny")
    shrink(plan(tmp_path / "tiny", Wish("mxfp4", shard_byte=400_000)), tmp_path / "out")
    found, name = read_back(tmp_path / "out"), "model.layers.1.mlp.down_proj.weight"
    assert f"{name}_shape" not in found
    packed, scales = found[f"{name}_packed"].numpy(), found[f"{name}_scale"].numpy()
    assert (packed.dtype, scales.dtype) == (np.uint8, np.uint8)
    sizes = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    codes = np.stack([packed & 15, packed >> 4], axis=-1).reshape(*scales.shape, 32)
    made = np.where(codes & 8, -1, 1) * sizes[codes & 7] * 2.0 ** (scales.astype(int) - 127)[..., None]
    weights = as_float(*given[name])
    apart = np.linalg.norm(made.reshape(weights.shape) - weights) / np.linalg.norm(weights)
    assert 0.08 < apart < 0.14
    assert check(tmp_path / "tiny", tmp_path / "out").tensors[name] == pytest.approx(apart, rel=1e-3)
    how = json.loads((tmp_path / "out/config.json").read_text())["quantization_config"]
    assert how["format"] == "mxfp4-pack-quantized"
