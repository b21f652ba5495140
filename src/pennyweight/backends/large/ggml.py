"""Tensors as llama.cpp keeps them: their names, types, the order of rows, and blocks of 8 and 4 bits.

Rotary positions turn pairs of numbers of a head. transformers pairs number i with i + d/2 (halves), llama.cpp's llama
pairs 2i with 2i + 1 (neighbours); both turn pair i by the same angle. A head's rows of q and k are therefore moved:
row 2i + s of llama.cpp is row s d/2 + i of transformers, s being 0 or 1. As q and k move alike, q k^T is the same.
Architectures qwen2 and qwen3 of llama.cpp pair halves, and nothing moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError, MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.backends.large.ggml_facts import Facts

BLOCK = 32  # weights that share a scale
KINDS = {"f16": "F16", "bf16": "BF16", "q8_0": "Q8_0", "q4_0": "Q4_0"}
FACTORS = "rope_freqs.weight"
_ENDS = (".weight", ".bias")
_BIASES = {
    "llama": ("self_attn.", "mlp."),
    "mistral": (),
    "qwen2": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "qwen3": (),
}
_MOST = {"F16": 65504.0, "Q8_0": 127 * 65504.0, "Q4_0": 8 * 65504.0}


@final
@dataclass(frozen=True, slots=True)
class Place:
    """Where a tensor goes: its name, its type ("F32", "F16", "BF16", "Q8_0", "Q4_0"), and rows to a head that moves.

    `turned` is 0 where rows stay.
    """

    name: str
    kind: str
    turned: int = 0


def load_gguf() -> Any:
    """The library; raises `MissingExtraError` without it."""
    try:
        import gguf
    except ImportError as error:
        raise MissingExtraError.of("gguf", "llm") from error
    return gguf


def place_of(name: str, shape: tuple[int, ...], facts: Facts, names: Any, kind: str) -> Place:
    """Where the tensor `name` of transformers goes, `names` being gguf's map; raises `BadInputError` for one unknown.

    Vectors stay whole (F32). Rows that no block of 32 fits are F16; the head is never below 8 bits.
    """
    found = names.get_name(name, try_suffixes=_ENDS)
    if found is None or (name.endswith(".bias") and not _may_lean(name, facts)):
        raise BadInputError(
            f"llama.cpp has no place for the tensor {name!r} in {facts.architecture}.",
            "give a plain language model of that family.",
        )
    if len(shape) == 1:
        chosen = "F32"
    elif kind in {"q8_0", "q4_0"} and shape[-1] % BLOCK:
        chosen = "F16"
    elif kind == "q4_0" and _is_head(name, facts):
        chosen = "Q8_0"
    else:
        chosen = KINDS[kind]
    return Place(found, chosen, facts.head_length if facts.interleaved and _is_turned(name) else 0)


def _is_head(name: str, facts: Facts) -> bool:
    return name == "lm_head.weight" or (facts.tied and name == "model.embed_tokens.weight")


def _may_lean(name: str, facts: Facts) -> bool:
    return any(part in name for part in _BIASES[facts.family])


def _is_turned(name: str) -> bool:
    return ".self_attn.q_proj." in name or ".self_attn.k_proj." in name


def shapes_of(facts: Facts, names: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """The shape of every weight that such a model has, by its name in transformers; of vocabularies as in `names`."""
    wide, inner = facts.embedding_length, facts.feed_forward_length
    queries, keys = facts.head_count * facts.head_length, facts.kv_head_count * facts.head_length
    words = names.get("model.embed_tokens.weight", (0, wide))[0]
    block = {
        "input_layernorm": (wide,),
        "post_attention_layernorm": (wide,),
        "self_attn.q_proj": (queries, wide),
        "self_attn.k_proj": (keys, wide),
        "self_attn.v_proj": (keys, wide),
        "self_attn.o_proj": (wide, queries),
        "mlp.gate_proj": (inner, wide),
        "mlp.up_proj": (inner, wide),
        "mlp.down_proj": (wide, inner),
    }
    if facts.family == "qwen3":
        block |= {"self_attn.q_norm": (facts.head_length,), "self_attn.k_norm": (facts.head_length,)}
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (words, wide), "model.norm.weight": (wide,)}
    if not facts.tied:
        found["lm_head.weight"] = (words, wide)
    for number in range(facts.block_count):
        for name, shape in block.items():
            found[f"model.layers.{number}.{name}.weight"] = shape
            if f"model.layers.{number}.{name}.bias" in names:
                found[f"model.layers.{number}.{name}.bias"] = shape[:1]
    return found


def to_neighbours(rows: NDArray[Any], head: int) -> NDArray[Any]:
    """Rows (N, …) of whole heads, halves paired, as llama.cpp has them, neighbours paired."""
    moved: NDArray[Any] = rows.reshape(-1, 2, head // 2, *rows.shape[1:]).swapaxes(1, 2).reshape(rows.shape)
    return moved


def to_halves(rows: NDArray[Any], head: int) -> NDArray[Any]:
    """The way back: number 2i + s of a head becomes number s d/2 + i."""
    places = np.arange(len(rows)).reshape(-1, head)
    moved: NDArray[Any] = rows[np.concatenate([places[:, 0::2], places[:, 1::2]], axis=1).reshape(-1)]
    return moved


def byte_of(shape: tuple[int, ...], kind: str) -> int:
    """Bytes of a tensor."""
    gguf = load_gguf()
    block, size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    return int(np.prod(shape, dtype=np.int64)) // int(block) * int(size)


def encoded(values: NDArray[np.float32], kind: str) -> NDArray[np.uint8]:
    """Float32 (N, columns) as bytes; raises `OverflowError` if one is too large and `FloatingPointError` if none."""
    gguf = load_gguf()
    most = float(np.abs(values).max(initial=0))
    if not np.isfinite(most):
        raise FloatingPointError("a weight is infinite or no number")
    if most > _MOST.get(kind, np.inf):
        raise OverflowError(f"a weight is {most:.3g}")
    with np.errstate(all="ignore"):  # scales below the least float32 are zero
        made = gguf.quants.quantize(values, gguf.GGMLQuantizationType[kind])
    return np.ascontiguousarray(made).view(np.uint8).reshape(-1)


def decoded(raw: NDArray[np.uint8], kind: str, columns: int) -> NDArray[np.float32]:
    """Bytes as float32 (N, columns)."""
    gguf = load_gguf()
    whole = gguf.GGMLQuantizationType[kind]
    rows = raw.reshape(-1, byte_of((columns,), kind))
    return np.asarray(gguf.quants.dequantize(rows, whole), np.float32).reshape(-1, columns)


def slack(values: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """How far each of `values` (N, columns) may move by rounding to `kind`.

    F32: not at all. F16, BF16: half a unit of the last place. With m the largest magnitude of a block, the step of Q8_0
    is m / 127 and that of Q4_0 m / 8; scales are F16, and the largest of the other sign has no code of its own in Q4_0.
    """
    if kind == "F32":
        return np.zeros_like(values)
    if kind in {"F16", "BF16"}:
        last, least = (2.0**-11, 2.0**-25) if kind == "F16" else (2.0**-8, 2.0**-133)
        return np.maximum(np.abs(values) * np.float32(last), np.float32(least))
    most = np.abs(values.reshape(-1, BLOCK)).max(axis=1)
    codes, share = (127, 0.501) if kind == "Q8_0" else (8, 1.001)
    # the scale moves by 2^-11 of itself or, where F16 has no finer, by 2^-25; the largest code multiplies that
    step = most / codes
    bound = step * share + codes * np.maximum(step * np.float32(2.0**-11), np.float32(2.0**-25))
    return np.repeat(bound, BLOCK).reshape(values.shape).astype(np.float32)
