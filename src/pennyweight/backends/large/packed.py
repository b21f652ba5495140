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

EVERY = "Linear"  # the class that stands for all linear layers
_WORD_BITS = 32
_BITS = (3, 4, 8)


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
    return _config([_group(rounding, [EVERY])], rounding.kind, ignored)


def described_mixed(layers: Mapping[str, Rounding], ignored: Sequence[str]) -> dict[str, Any]:
    """The same where linear layers are rounded each in a way of its own, all to whole numbers: by their names."""
    # every layer is named: vLLM takes the class of a joined layer for a match before it looks for the parts' names
    ways = sorted(set(layers.values()), key=lambda way: (way.bits, way.group))
    groups = [_group(way, [name for name, other in layers.items() if other == way]) for way in ways]
    return _config(groups, "int", ignored)


def _group(rounding: Rounding, targets: list[str]) -> dict[str, Any]:
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
    return {"targets": targets, "weights": weights, "input_activations": None, "output_activations": None}


def _config(groups: list[dict[str, Any]], kind: str, ignored: Sequence[str]) -> dict[str, Any]:
    return {
        "quant_method": "compressed-tensors",
        "format": "mxfp4-pack-quantized" if kind == "mx" else "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {f"group_{number}": group for number, group in enumerate(groups)},
        "ignore": list(ignored),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }


def roundings_of(config: Mapping[str, Any]) -> dict[str, Rounding] | None:
    """How a config.json says that linear layers were rounded, by their names, or by `EVERY` if all were alike.

    None if it is not what `described` or `described_mixed` writes.
    """
    said = config.get("quantization_config")
    if not isinstance(said, dict):
        return None
    try:
        groups = said["config_groups"].values()
        found = {str(name): _way(group["weights"]) for group in groups for name in group["targets"]}
        ignored = said.get("ignore") or ()
        again = described(found[EVERY], ignored) if found.keys() == {EVERY} else described_mixed(found, ignored)
    except (AttributeError, KeyError, TypeError):
        return None
    return found if again == said and all(way.bits in _BITS for way in found.values()) else None


def _way(weights: Mapping[str, Any]) -> Rounding:
    return Rounding(weights["num_bits"], weights["group_size"], "mx" if weights["type"] == "float" else "int")


def rounding_of(config: Mapping[str, Any]) -> Rounding | None:
    """How a config.json says that all linear layers were rounded alike, None if it does not say so."""
    return (roundings_of(config) or {}).get(EVERY)
