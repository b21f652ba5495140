"""The keys of a config.json, read with the names that different families give to the same thing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from pennyweight.errors import BadInputError

Facts: TypeAlias = dict[str, Any]

_ALSO = {
    "num_hidden_layers": ("n_layer", "num_layers", "n_layers"),
    "hidden_size": ("n_embd", "d_model", "n_embed", "dim"),
    "num_attention_heads": ("n_head", "n_heads", "num_heads"),
    "num_key_value_heads": ("num_kv_heads", "n_head_kv", "kv_n_heads", "multi_query_group_num"),
    "intermediate_size": ("ffn_dim", "n_inner", "ffn_hidden_size", "hidden_dim"),
    "max_position_embeddings": ("n_positions", "max_seq_len", "seq_length", "max_sequence_length", "n_ctx"),
    "vocab_size": ("padded_vocab_size",),
    "head_dim": ("attention_head_dim", "kv_channels"),
    "num_experts": ("num_local_experts", "n_routed_experts", "moe_num_experts"),
    "num_experts_per_tok": ("experts_per_token", "num_experts_per_token", "top_k_experts", "moe_k", "moe_topk"),
    "n_shared_experts": ("num_shared_experts", "moe_num_shared_experts"),
    "num_nextn_predict_layers": ("mtp_num_hidden_layers", "num_mtp_modules"),
}


@dataclass(frozen=True, slots=True)
class Keys:
    """What a config says; `name` is the model's, `defaults` what its family leaves out."""

    name: str
    body: Mapping[str, Any]
    defaults: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        """What is said under `key` or another name of it; null and absent are the family's default, or `default`."""
        for name in (key, *_ALSO.get(key, ())):
            if self.body.get(name) is not None:
                return self.body[name]
        found = self.defaults.get(key)
        return default if found is None else found

    def number(self, key: str, default: int | None = None) -> int:
        """A whole number from zero on; one that is missing and has no default is refused."""
        value = self.get(key, default)
        if value is None:
            raise BadInputError(
                f"The config of {self.name} has no {key}.", f"add {key} (a whole number) to its config.json."
            )
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if isinstance(value, bool) or not whole or value < 0:
            raise BadInputError(f"The config of {self.name} has {key} = {value!r}.", f"give a whole number for {key}.")
        return int(value)

    def true(self, key: str, *, default: bool = False) -> bool:
        """Yes or no."""
        return bool(self.get(key, default))

    def refuse(self, *keys: str) -> None:
        """Refuse what is not counted yet."""
        wrong = next((key for key in keys if self.body.get(key)), None)
        if wrong:
            raise BadInputError(
                f"{self.name} has {wrong} = {self.body[wrong]!r}, which is not counted.",
                f"make a Dims by hand, or remove {wrong} if it changes little.",
            )

    def part(self, key: str) -> Keys:
        """The keys of a nested object, none if it is missing."""
        found = self.body.get(key)
        return Keys(f"{self.name}, {key}", found if isinstance(found, Mapping) else {}, {})

    def items(self, key: str) -> list[Any]:
        """A list, empty if it is missing; one with an entry per layer is cut to the layers there are."""
        found = self.get(key, [])
        return list(found) if isinstance(found, (list, tuple, str)) else []

    def named(self, *marks: str) -> bool:
        """Whether the class that the config names has one of these marks in its name."""
        return any(mark in str(each) for each in self.items("architectures") for mark in marks)


Family: TypeAlias = Callable[[Keys], Facts]


def base(keys: Keys) -> Facts:
    """What every decoder says: sizes, heads, vocabulary."""
    return {
        "layers": keys.number("num_hidden_layers"),
        "hidden": keys.number("hidden_size"),
        "heads": keys.number("num_attention_heads"),
        "kv_heads": keys.number("num_key_value_heads", 0),
        "head_dim": keys.number("head_dim", 0),
        "vocab": keys.number("vocab_size"),
        "max_context": keys.number("max_position_embeddings", 0),
    }


def windows(keys: Keys, layers: int) -> Facts:
    """Sliding windows: which layers have one, from a list of layer types, or all."""
    window = keys.number("sliding_window", 0)
    if not window or keys.get("use_sliding_window") is False:
        return {}
    types = keys.items("layer_types")[:layers]
    some = sum(each in {"sliding_attention", "chunked_attention"} for each in types) if types else layers
    return {"window": window, "window_layers": some} if some else {}
