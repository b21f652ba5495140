"""The tensors of a checkpoint that have a row for every token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.store.checkpoints import Checkpoint

_ENDS = ("embed_tokens.weight", "lm_head.weight", "lm_head.bias", "embed_in.weight", "embed_out.weight", "wte.weight")


def is_table(name: str) -> bool:
    """Whether a tensor has a row for every token, by its name."""
    return name.endswith(_ENDS)


def tables_of(source: Checkpoint) -> int:
    """How many tokens a model knows; raises `BadInputError` if its tables do not say so, or not the same."""
    rows = {each.name: each.shape[0] for each in source.tensors.values() if is_table(each.name)}
    if not rows:
        raise BadInputError(
            f"No embedding is known in a model of the architecture {source.config.get('model_type')!r}.",
            "leave --vocab out.",
        )
    said = source.config.get("vocab_size")
    for name, count in rows.items():
        if count != said:
            raise BadInputError(
                f"config.json says that there are {said} tokens, but {name!r} has {count} rows.",
                "download config.json and weights of one version of the model.",
            )
    return next(iter(rows.values()))
