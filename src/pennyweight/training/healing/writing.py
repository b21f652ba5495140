"""The healed student as a folder like the one that came in: its types of numbers, its config, its tokenizer."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pennyweight.errors import PennyweightError, StorageError
from pennyweight.store.checkpoints import Checkpoint
from pennyweight.store.checkpoints.folder import CONFIG
from pennyweight.store.disk import explained, read

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from pennyweight.training.healing.workplace import Workplace

_TYPES = {"F64": "float64", "F32": "float32", "BF16": "bfloat16", "F16": "float16"}
_MOST_BYTE = 200_000_000
_SHARD = "5GB"


@contextmanager
def saving(path: Path) -> Generator[None]:
    """Say what goes wrong with weights that are written at `path`; what was kept before is still there."""
    from safetensors import SafetensorError

    try:
        with explained(path, "the weights"):
            yield
    except SafetensorError as error:  # of a disk that is full, too
        raise StorageError(
            f"The weights cannot be written at {path}: {error}.", "free space there, then go on with --resume."
        ) from error


def round_to(model: Any, source: Checkpoint) -> None:
    """Give all weights, in place and still in float32, the values that they will have in the checkpoint's types."""
    import torch

    types = _types(source)
    usual = Counter(types.values()).most_common(1)[0][0] if types else "float32"
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_(weight.to(getattr(torch, types.get(name, usual))))


def write(model: Any, source: Checkpoint, place: Workplace) -> None:
    """Write the model in the types of `source`, with what lies beside its weights, and let it appear all at once."""
    import torch

    types = _types(source)
    usual = Counter(types.values()).most_common(1)[0][0] if types else "float32"
    for name, weight in model.named_parameters():
        weight.data = weight.data.to(getattr(torch, types.get(name, usual)))
    made = place.made
    with saving(made):
        _saved(model, made)
        for path in (*source.beside, source.folder / CONFIG):
            real = path.resolve()
            (made / path.name).write_bytes(read(real.parent, real.name, _MOST_BYTE))
    _check(made, source)
    place.land(made)


def _saved(model: Any, made: Path) -> None:
    from transformers.utils import logging

    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model.save_pretrained(made, max_shard_size=_SHARD)
    finally:
        if bars:
            logging.enable_progress_bar()


def _types(source: Checkpoint) -> dict[str, str]:
    return {name: _TYPES[each.dtype] for name, each in source.tensors.items() if each.dtype in _TYPES}


def _check(made: Path, source: Checkpoint) -> None:
    """Refuse a folder that does not hold what the other held."""
    found = Checkpoint.at(made).tensors
    ours = {(each.dtype, each.shape) for each in found.values()}
    theirs = {(each.dtype, each.shape) for each in source.tensors.values()}
    if not ours <= theirs:
        odd = next(name for name, each in found.items() if (each.dtype, each.shape) not in theirs)
        raise PennyweightError(
            f"What was written is another model than {source.folder}: {odd!r} is not of its types and shapes.",
            "say so to the authors of pennyweight; nothing was written.",
        )
