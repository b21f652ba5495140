"""The layouts that vLLM and transformers read as compressed-tensors: names, types, shapes, config.

Whole numbers (`pack-quantized`): a linear layer's `weight` (out, in) becomes `weight_packed` (out, in x bits / 32;
int32, the first code in the lowest bits), `weight_scale` (out, in / group; of the weights' type) and `weight_shape` (2;
int64). MXFP4 (`mxfp4-pack-quantized`): `weight_packed` (out, in / 2; bytes, the first code in the lower half) and
`weight_scale` (out, in / 32; bytes, the exponent plus 127). A group lies within a row and fills whole words, so rows
follow each other without padding, as if there were one row only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.backends.large.rounding import Rounding

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_WORD_BITS = 32


@final
@dataclass(frozen=True, slots=True)
class Piece:
    """One of the three tensors that a weight becomes."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    byte: int


def pieces(name: str, shape: tuple[int, int], dtype: str, rounding: Rounding) -> tuple[Piece, ...]:
    """What the weight called `name` becomes: packed codes, scales and, of whole numbers, its shape."""
    rows, columns = shape
    stem, groups = name.removesuffix(".weight"), columns // rounding.group
    scale = (f"{stem}.weight_scale", rounding.scale_type(dtype), (rows, groups))
    scales = Piece(*scale, rounding.scale_byte(dtype) * rows * groups)
    byte = rows * columns * rounding.bits // 8
    if rounding.kind == "mx":
        return Piece(f"{stem}.weight_packed", "U8", (rows, columns // 2), byte), scales
    words = columns * rounding.bits // _WORD_BITS
    return (
        Piece(f"{stem}.weight_packed", "I32", (rows, words), byte),
        scales,
        Piece(f"{stem}.weight_shape", "I64", (2,), 16),
    )


def described(rounding: Rounding, ignored: Sequence[str]) -> dict[str, Any]:
    """The `quantization_config` of a config.json; `ignored` are linear layers that stay as they are."""
    micro = rounding.kind == "mx"
    weights: dict[str, Any] = {
        "num_bits": rounding.bits,
        "type": "float" if micro else "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": rounding.group,
        "dynamic": False,
        "actorder": None,
        "block_structure": None,
        "observer": "minmax",
        "observer_kwargs": {},
        **({"scale_dtype": "torch.uint8"} if micro else {}),
    }
    group = {"targets": ["Linear"], "weights": weights, "input_activations": None, "output_activations": None}
    return {
        "quant_method": "compressed-tensors",
        "format": "mxfp4-pack-quantized" if micro else "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": group},
        "ignore": list(ignored),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def rounding_of(config: Mapping[str, Any]) -> Rounding | None:
    """The rounding that a config.json describes, None if it is not one that `described` writes."""
    said = config.get("quantization_config")
    if not isinstance(said, dict):
        return None
    try:
        weights = said["config_groups"]["group_0"]["weights"]
        kind = "mx" if weights["type"] == "float" else "int"
        found = Rounding(weights["num_bits"], weights["group_size"], kind)
    except (KeyError, TypeError):
        return None
    return found if described(found, said.get("ignore") or ()) == said and found.bits in {3, 4, 8} else None
