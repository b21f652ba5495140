"""Which weights of a checkpoint are rounded, which stay as they are and why; contradictions are said here."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from pennyweight.backends.large.families import (
    FAMILIES,
    TRANSPOSED,
    any_block_of,
    family_of,
    hidden_of,
    is_any_linear,
    layers_of,
)
from pennyweight.backends.large.rounding import FLOATS
from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from pennyweight.backends.large.families import Family
    from pennyweight.backends.large.rounding import Rounding
    from pennyweight.store.checkpoints import Checkpoint, Tensor

_OTHER = "download config.json and weights of one version of the model."
_EXPERTS = ("mixtral", "qwen3_moe")  # their blocks may differ


@final
@dataclass(frozen=True, slots=True)
class Choice:
    """Names of weights that are rounded; why others are kept; modules that readers must be told to leave alone."""

    rounded: frozenset[str]
    kept: Mapping[str, str]
    ignored: tuple[str, ...]


def choose(source: Checkpoint, rounding: Rounding, keep: Collection[str], *, any_: bool) -> Choice:
    """Choose what to round in `source`; a weight whose name has one of `keep` in it is kept.

    Raises `BadInputError` for an unknown architecture (unless `any_`), a config that disagrees with the weights, and
    weights that are rounded already; `NoEffectError` if nothing is left to round.
    """
    if "quantization_config" in source.config:
        raise BadInputError(f"The weights of {source.folder} are rounded already.", "give the original checkpoint.")
    unknown = str(source.config.get("model_type")) not in {*FAMILIES, *TRANSPOSED}
    family = None if any_ and unknown else family_of(source.config)
    if family is not None:
        _check_shapes(source, family)
    linears = [each for each in source.tensors.values() if _is_linear(each, family)]
    kept = {each.name: why for each in linears if (why := _why_kept(each, rounding, keep))}
    rounded = frozenset(each.name for each in linears) - kept.keys()
    if not rounded:
        why = next(iter(kept.values()), "no linear layer was found")
        raise NoEffectError(f"Nothing of {source.folder} would be rounded: {why}.", "give another --group or --keep.")
    return Choice(rounded, kept, _ignored(source, rounded, family))


def _is_linear(tensor: Tensor, family: Family | None) -> bool:
    if family is None:
        return len(tensor.shape) == 2 and is_any_linear(tensor.name)
    return family.is_linear(tensor.name)


def _why_kept(tensor: Tensor, rounding: Rounding, keep: Collection[str]) -> str | None:
    if tensor.dtype not in FLOATS:
        raise BadInputError(
            f"The weight {tensor.name!r} is of the type {tensor.dtype}, which is not rounded.",
            "give a checkpoint in BF16, F16 or F32.",
        )
    if any(word in tensor.name for word in keep):
        return "kept as asked"
    if len(tensor.shape) != 2 or not tensor.count:
        return "not a matrix"
    if tensor.shape[1] % rounding.group:
        return f"its {tensor.shape[1]} inputs are no multiple of {rounding.group}"
    return None


def _ignored(source: Checkpoint, rounded: frozenset[str], family: Family | None) -> tuple[str, ...]:
    """Linear layers that stay: heads, routers, what was kept. Embeddings and norms are no linear layers."""
    heads = family.heads if family else ("lm_head",)
    other = [
        name.removesuffix(".weight")
        for name, tensor in source.tensors.items()
        if name.endswith(".weight") and len(tensor.shape) == 2 and name not in rounded and "embed" not in name
    ]
    return tuple(sorted({*other, *heads}))


def _check_shapes(source: Checkpoint, family: Family) -> None:
    _check_blocks(source, family)
    hidden = hidden_of(source.config)
    for tensor in source.tensors.values():
        if hidden is None or len(tensor.shape) != 2:
            continue
        wide = tensor.shape[1] if family.is_read(tensor.name) else hidden
        wide = tensor.shape[0] if family.is_write(tensor.name) else wide
        if wide != hidden:
            raise BadInputError(
                f"config.json says that hidden states are {hidden} wide, but {tensor.name!r} is of the shape "
                f"{' x '.join(map(str, tensor.shape))}.",
                _OTHER,
            )


def _check_blocks(source: Checkpoint, family: Family) -> None:
    found: defaultdict[int, set[str]] = defaultdict(set)
    for name in source.tensors:
        number = family.block_of(name)
        if number is not None and family.is_linear(name):
            found[number].add(name.partition(f".{number}.")[2])
    layers = layers_of(source.config)
    if layers is not None and set(found) != set(range(layers)):
        raise BadInputError(
            f"config.json says that there are {layers} blocks, but weights are there of {len(found)}.", _OTHER
        )
    if source.config.get("model_type") in _EXPERTS:
        return
    every = set().union(*found.values())
    for number, names in sorted(found.items()):
        if names != every:
            raise BadInputError(f"Block {number} has no {min(every - names)!r}, others have.", _OTHER)


def block_of(source: Checkpoint, name: str) -> int | None:
    """The number of the block that a tensor of `source` belongs to."""
    family = FAMILIES.get(str(source.config.get("model_type")))
    return family.block_of(name) if family else any_block_of(name)
