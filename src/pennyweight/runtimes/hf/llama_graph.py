"""Decoders of Llama's shape (Llama, Mistral, Qwen 2 and 3) as a graph of OpenVINO, from config and weights alone.

The shape is that of Touvron et al. 2023 (arXiv 2302.13971), with rotary positions (Su et al. 2021, arXiv 2104.09864)
as transformers numbers them: the first half of a head's values turns with the second. Attention is written over keys
and values that are kept, in the form that OpenVINO turns into attention over pages.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.runtimes.hf.mapped import Mapped

_THETA = 10_000.0


@final
@dataclass(frozen=True, slots=True)
class Decoder:
    """The sizes of a decoder; `inverse` are the frequencies (D / 2,) by which the values of a head turn."""

    layers: int
    heads: int
    kept_heads: int
    size: int
    eps: float
    inverse: tuple[float, ...]

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """As config.json says."""
        heads = int(config["num_attention_heads"])
        size = int(config.get("head_dim") or config["hidden_size"] // heads)
        kept = int(config.get("num_key_value_heads") or heads)
        turns = tuple(_inverse(config, size).tolist())
        return cls(int(config["num_hidden_layers"]), heads, kept, size, float(config["rms_norm_eps"]), turns)


def window(config: Mapping[str, Any]) -> int:
    """How far back every layer looks, 0 for all of the text."""
    used = config.get("use_sliding_window", config.get("model_type") == "mistral")
    return int(config.get("sliding_window") or 0) if used else 0


def build(decoder: Decoder, tensors: Mapped) -> Any:
    """The graph: "input_ids" (N,) of several texts after each other, with what pages need, to "logits" (P, 1, V).

    Logits are told for the tokens at the places "picked" (P,) only. Keys and values are kept in "key_cache.0" ….
    """
    from openvino import Model
    from openvino import opset13 as ops
    from openvino._offline_transformations import paged_attention_transformation  # ruff: ignore[import-private-name] - it has no other name

    tokens, mask, places, beams, picked = (_input(name) for name in _INPUTS)
    turn = _Turn(places, decoder)
    batch = ops.gather(ops.shape_of(tokens), _whole([0]), _whole(0))
    kept = _Kept(decoder, beams, batch, ops.convert(ops.unsqueeze(mask, _whole([1, 2])), "f32"))
    x = ops.gather(tensors.constant("model.embed_tokens.weight"), tokens, _whole(0))
    for at in range(decoder.layers):
        stem = f"model.layers.{at}"
        x = ops.add(x, _attention(_norm(x, tensors, f"{stem}.input_layernorm", decoder), stem, turn, kept, tensors))
        x = ops.add(x, _network(_norm(x, tensors, f"{stem}.post_attention_layernorm", decoder), stem, tensors))
    x = _norm(ops.gather(x, picked, _whole(0)), tensors, "model.norm", decoder)
    head = "lm_head" if "lm_head.weight" in tensors or "lm_head.weight_packed" in tensors else "model.embed_tokens"
    answer = ops.result(ops.matmul(x, tensors.weight(head), transpose_a=False, transpose_b=True))
    answer.output(0).set_names({"logits"})
    model = Model([answer], kept.sinks, [tokens, mask, places, beams, picked], "decoder")
    paged_attention_transformation(model)
    return model


_INPUTS = ("input_ids", "attention_mask", "position_ids", "beam_idx", "picked")


def _input(name: str) -> Any:
    from openvino import opset13 as ops

    shape, kind = ([-1, -1], np.int64) if name not in {"beam_idx", "picked"} else ([-1], np.int64)
    found = ops.parameter(shape, np.int32 if name == "beam_idx" else kind, name=name)
    found.output(0).set_names({name})
    return found


def _whole(value: Any) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.array(value, np.int64))


def _number(value: float) -> Any:
    from openvino import opset13 as ops

    return ops.constant(np.float32(value))


def _norm(x: Any, tensors: Mapped, name: str, decoder: Decoder) -> Any:
    """X / sqrt(mean(x²) + eps), times a weight (Zhang and Sennrich 2019)."""
    from openvino import opset13 as ops

    mean = ops.reduce_mean(ops.power(x, _number(2)), _whole([-1]), keep_dims=True)
    scale = ops.divide(_number(1), ops.sqrt(ops.add(mean, _number(decoder.eps))))
    return ops.multiply(ops.multiply(x, scale), tensors.constant(f"{name}.weight"))


def _linear(x: Any, tensors: Mapped, layer: str) -> Any:
    from openvino import opset13 as ops

    y = ops.matmul(x, tensors.weight(layer), transpose_a=False, transpose_b=True)
    return ops.add(y, tensors.constant(f"{layer}.bias")) if f"{layer}.bias" in tensors else y


def _network(x: Any, stem: str, tensors: Mapped) -> Any:
    from openvino import opset13 as ops

    gate = ops.swish(_linear(x, tensors, f"{stem}.mlp.gate_proj"))
    return _linear(ops.multiply(gate, _linear(x, tensors, f"{stem}.mlp.up_proj")), tensors, f"{stem}.mlp.down_proj")


def _attention(x: Any, stem: str, turn: _Turn, kept: _Kept, tensors: Mapped) -> Any:
    from openvino import opset13 as ops

    decoder, own = kept.decoder, f"{stem}.self_attn"
    q, k, v = (
        _heads(_linear(x, tensors, f"{own}.{name}_proj"), count, decoder.size)
        for name, count in (("q", decoder.heads), ("k", decoder.kept_heads), ("v", decoder.kept_heads))
    )
    if f"{own}.q_norm.weight" in tensors:
        q, k = _norm(q, tensors, f"{own}.q_norm", decoder), _norm(k, tensors, f"{own}.k_norm", decoder)
    q, k, v = (ops.transpose(each, _whole([0, 2, 1, 3])) for each in (q, k, v))
    k, v = kept.grown(f"{stem}.key", turn(k)), kept.grown(f"{stem}.value", v)
    scale = _number(1 / math.sqrt(decoder.size))
    found = ops.scaled_dot_product_attention(turn(q), kept.shared(k), kept.shared(v), kept.mask, scale)
    joined = ops.reshape(ops.transpose(found, _whole([0, 2, 1, 3])), _whole([0, 0, -1]), special_zero=True)
    return _linear(joined, tensors, f"{own}.o_proj")


def _heads(x: Any, count: int, size: int) -> Any:
    from openvino import opset13 as ops

    return ops.reshape(x, _whole([0, 0, count, size]), special_zero=True)


@final
class _Turn:
    """Turns the values (B, H, T, D) of heads by the places of their tokens."""

    def __init__(self, places: Any, decoder: Decoder) -> None:
        from openvino import opset13 as ops

        inverse = ops.constant(np.array(decoder.inverse, np.float32)[None, None])
        half = ops.multiply(ops.convert(ops.unsqueeze(places, _whole(2)), "f32"), inverse)
        angles = ops.concat([half, half], 2)
        self._cos, self._sin = (ops.unsqueeze(each(angles), _whole(1)) for each in (ops.cos, ops.sin))

    def __call__(self, x: Any) -> Any:
        from openvino import opset13 as ops

        halves = ops.split(x, _whole(3), 2)
        across = ops.concat([ops.negative(halves.output(1)), halves.output(0)], 3)
        return ops.add(ops.multiply(x, self._cos), ops.multiply(across, self._sin))


@final
class _Kept:
    """Keys and values of all tokens before, as states; the library finds them by this form and puts them on pages."""

    def __init__(self, decoder: Decoder, beams: Any, batch: Any, mask: Any) -> None:
        self.decoder, self.mask = decoder, mask
        self.sinks: list[Any] = []
        self._beams, self._batch = beams, batch

    def grown(self, name: str, fresh: Any) -> Any:
        """All that was kept under a name, and what is new."""
        from openvino import PartialShape, Type, op
        from openvino import opset13 as ops
        from openvino.op.util import Variable, VariableInfo

        heads, size = self.decoder.kept_heads, self.decoder.size
        about = VariableInfo()
        about.data_shape, about.data_type, about.variable_id = PartialShape([-1, heads, -1, size]), Type.f32, name
        variable = Variable(about)
        none = ops.broadcast(_number(0), ops.concat([self._batch, _whole([heads, 0, size])], 0))
        before = ops.gather(op.read_value(none, variable), self._beams, _whole(0))
        found = ops.concat([before, fresh], 2)
        self.sinks.append(op.assign(found, variable))
        return found

    def shared(self, x: Any) -> Any:
        """The same keys or values for all heads that share them."""
        from openvino import opset13 as ops

        heads, kept = self.decoder.heads, self.decoder.kept_heads
        if heads == kept:
            return x
        shape = _whole([1, 1, heads // kept, 1, 1])
        wide = ops.broadcast(ops.unsqueeze(x, _whole(2)), shape, broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(wide, _whole([0, heads, -1, self.decoder.size]), special_zero=True)


def positions(config: Mapping[str, Any]) -> dict[str, Any]:
    """How positions are told, as newer and as older files say it."""
    found = dict(config.get("rope_scaling") or {}) | dict(config.get("rope_parameters") or {})
    found.setdefault("rope_type", found.get("type") or "default")
    found.setdefault("rope_theta", config.get("rope_theta") or _THETA)
    return found


def _inverse(config: Mapping[str, Any], size: int) -> NDArray[np.float64]:
    """The frequencies by which pairs of values turn, slowed for texts longer than those of the first training.

    "llama3": as told with Llama 3.1: slow ones are slowed by `factor`, fast ones not at all, those between in between.
    """
    rope = positions(config)
    found: NDArray[np.float64] = float(rope["rope_theta"]) ** -(np.arange(0, size, 2) / size)
    if rope["rope_type"] == "linear":
        return found / float(rope["factor"])
    if rope["rope_type"] == "llama3":
        slow, fast = float(rope["low_freq_factor"]), float(rope["high_freq_factor"])
        turns = float(rope["original_max_position_embeddings"]) * found / (2 * math.pi)
        share = np.clip((turns - slow) / (fast - slow), 0, 1)
        return found * (share + (1 - share) / float(rope["factor"]))
    return found
