"""What a checkpoint is, from its config.json and the heads of its shards; nothing of it is executed."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

AGAIN = "download config.json and weights of one version of the model again."
_CONFIG, _INDEX, _SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"
_ENCODERS = ("bert", "roberta", "xlm-roberta", "distilbert", "electra", "modernbert")
_ENDS = {
    "ForCausalLM": "generate",
    "LMHeadModel": "generate",
    "ForMaskedLM": "fill",
    "ForSequenceClassification": "classify",
}
_CONTEXT = ("max_position_embeddings", "n_positions", "n_ctx", "seq_length")
_WORDS = ("vocab_size",)
_LAYERS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")
_WHOLE = {"I32": 4, "U32": 4, "I8": 1, "U8": 1}  # bytes


@final
@dataclass(frozen=True, slots=True)
class Description:
    """What a folder holds, by its config.json and the heads of its shards.

    `family` is the architecture (`model_type`); `task` what it does: "generate", "fill", "classify" or "embed";
    `context` the tokens it can look at, 0 if that is not said; `vocabulary` how many tokens it tells apart; `byte`
    those of all shards; `parameters` how many numbers the weights are once they are unpacked, at most.
    """

    folder: Path
    family: str
    task: str
    context: int
    vocabulary: int
    byte: int
    parameters: int


def describe(folder: Path) -> Description:
    """Look at a checkpoint without reading its weights.

    Raises `BadInputError` for a missing config, index or shard, and `CorruptError` for one that is cut short.
    """
    config = _json(folder, _CONFIG, f"{folder} is no checkpoint: it has no {_CONFIG}.")
    shards = _shards(folder)
    counts = [_numbers(shard) for shard in shards]
    family = config.get("model_type")
    if not isinstance(family, str):
        raise BadInputError(f"config.json of {folder} does not name a model_type.", AGAIN)
    text = config.get("text_config")
    inner = {**config, **text} if isinstance(text, dict) else config
    _check_sizes(folder, inner, sum(tensors for _, tensors in counts))
    parameters = sum(numbers for numbers, _ in counts)
    byte = sum(shard.stat().st_size for shard in shards)
    return Description(
        folder, family, _task(config, family), _first(inner, _CONTEXT), _first(inner, _WORDS), byte, parameters
    )


def _check_sizes(folder: Path, config: Mapping[str, Any], tensors: int) -> None:
    """Refuse more layers than there can be, which would take hours and all memory to build."""
    layers = _first(config, _LAYERS)
    if layers > tensors:
        raise BadInputError(
            f"config.json of {folder} names {layers} layers, and its weights are {tensors} tensors.", AGAIN
        )


def _task(config: Mapping[str, Any], family: str) -> str:
    names = config.get("architectures")
    name = str(names[0]) if isinstance(names, list) and names else ""
    for end, task in _ENDS.items():
        if name.endswith(end):
            return task
    return "embed" if name or family in _ENCODERS else "generate"


def _shards(folder: Path) -> tuple[Path, ...]:
    if not (folder / _INDEX).exists():
        if (folder / _SINGLE).is_file():
            return (folder / _SINGLE,)
        raise BadInputError(f"{folder} holds neither {_SINGLE} nor {_INDEX}.", "download the model's safetensors.")
    where = _json(folder, _INDEX, "").get("weight_map")
    if not isinstance(where, dict) or not where:
        raise BadInputError(f"{folder / _INDEX} has no weight_map from tensors to files.", "download it again.")
    names = sorted({str(name) for name in where.values()})
    for name in names:
        if "/" in name or "\\" in name or name in {"", ".", ".."}:
            raise CorruptError(f"{folder / _INDEX} names {name!r}, which is no file of it.", "download it again.")
        if not (folder / name).is_file():
            raise BadInputError(f"The shard {name} is missing in {folder}.", "download the rest of the model.")
    return tuple(folder / name for name in names)


def _numbers(shard: Path) -> tuple[int, int]:
    """How many numbers a shard holds, and in how many tensors; whole ones are taken for packed ones, two to a byte.

    Raises `CorruptError` if the shard is cut short.
    """
    from safetensors import SafetensorError, safe_open

    found = tensors = 0
    try:
        with safe_open(shard, framework="numpy") as heads:
            for name in heads.keys():  # ruff: ignore[in-dict-keys] - it is no dictionary
                tensors += 1
                head = heads.get_slice(name)
                kind, count = str(head.get_dtype()), math.prod(head.get_shape())
                found += count if kind not in _WHOLE else 2 * count * _WHOLE[kind]
    except (SafetensorError, OSError) as error:
        raise CorruptError(f"{shard} is cut short or damaged: {first_line(error)}.", "download it again.") from error
    return found, tensors


def _json(folder: Path, name: str, missing: str) -> dict[str, Any]:
    path = folder / name
    if not path.is_file():
        raise BadInputError(missing, "give the folder of a checkpoint, whole.")
    try:
        said = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise BadInputError(f"{path} cannot be read: {error}.", "download it again.") from error
    if not isinstance(said, dict):
        raise BadInputError(f"{path} does not hold one object.", "download it again.")
    return said


def _first(config: Mapping[str, Any], keys: Iterable[str]) -> int:
    found = next((config[key] for key in keys if key in config), 0)
    return found if type(found) is int and found > 0 else 0


def first_line(error: BaseException) -> str:
    """What an error says, in one line without its full stop."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].strip().rstrip(".")
