"""What a cut does to the numbers of a config.json, and to the shapes of the tensors of a block."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Self, final

from pennyweight.errors import BadInputError, NoEffectError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pennyweight.engine.cutting.wish import Wish

AXES: Mapping[str, tuple[str, int]] = {
    "self_attn.q_proj": ("queries", 0),
    "self_attn.k_proj": ("keys", 0),
    "self_attn.v_proj": ("keys", 0),
    "self_attn.o_proj": ("queries", 1),
    "mlp.gate_proj": ("neurons", 0),
    "mlp.up_proj": ("neurons", 0),
    "mlp.down_proj": ("neurons", 1),
}  # which numbers of a layer's weight go with which part, along which axis
_STEPS = (128, 64, 32)  # neurons that go together, so that rows can still be rounded in groups of as many
_LEAST_STEPS = 8
_WINDOWED, _USUAL_WINDOWLESS = ("qwen2", "qwen3"), 28


@final
@dataclass(frozen=True, slots=True)
class Shape:
    """Blocks, neurons of each, heads of queries, groups of keys and values, numbers of a head."""

    layers: int
    ffn: int
    heads: int
    groups: int
    head: int

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Self:
        """What a config.json says; raises `BadInputError` for what is missing or contradicts itself."""
        layers, ffn, heads, hidden = (
            _whole(config, key)
            for key in ("num_hidden_layers", "intermediate_size", "num_attention_heads", "hidden_size")
        )
        groups = _whole(config, "num_key_value_heads", heads)
        head = _whole(config, "head_dim", hidden // heads)
        if heads % groups:
            raise BadInputError(
                f"config.json says that {heads} heads share {groups} groups of keys, which does not come out.",
                "download it again.",
            )
        return cls(layers, ffn, heads, groups, head)

    def cut(self, wish: Wish, config: Mapping[str, Any]) -> Self:
        """What is left of it; raises `BadInputError` for too much, `NoEffectError` for too little."""
        if wish.layers >= self.layers:
            raise BadInputError(
                f"{wish.layers} blocks cannot be dropped: there are {self.layers}.",
                f"give --layers at most {self.layers - 1}.",
            )
        groups = self._groups(wish.heads, config)
        heads = groups * (self.heads // self.groups)
        return replace(self, layers=self.layers - wish.layers, ffn=self._ffn(wish.ffn), heads=heads, groups=groups)

    @property
    def sizes(self) -> Mapping[str, int]:
        """How many numbers there are of each part of a block."""
        return {"queries": self.heads * self.head, "keys": self.groups * self.head, "neurons": self.ffn}

    def of_tensor(self, local: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of a tensor of a block, by its name within it and its shape before."""
        name, _, kind = local.rpartition(".")
        if name not in AXES or (kind == "bias" and AXES[name][1]):
            return shape
        part, axis = AXES[name]
        return (*shape[:axis], self.sizes[part], *shape[axis + 1 :])

    def written(self, config: Mapping[str, Any], kept: Sequence[int]) -> dict[str, Any]:
        """The config of what is left, when the blocks `kept` stay."""
        said = dict(config) | {
            "num_hidden_layers": self.layers,
            "intermediate_size": self.ffn,
            "num_attention_heads": self.heads,
            "num_key_value_heads": self.groups,
            "head_dim": self.head,
        }
        kinds = _kinds(config)
        if kinds is not None:
            said["layer_types"] = [kinds[number] for number in kept]
        if type(said.get("max_window_layers")) is int:
            said["max_window_layers"] = sum(number < said["max_window_layers"] for number in kept)
        return said

    def _ffn(self, share: float) -> int:
        if not share:
            return self.ffn
        step = next((each for each in _STEPS if self.ffn % each == 0 and self.ffn >= _LEAST_STEPS * each), 0)
        step = step or (_STEPS[-1] if self.ffn % _STEPS[-1] == 0 else 1)
        left = max(step, round(self.ffn * (1 - share) / step) * step)
        if left == self.ffn:
            raise NoEffectError(
                f"Of {self.ffn} neurons {step} go together, and {share:.2%} is less than half of that.",
                f"give --ffn at least {step / self.ffn:.2%}.",
            )
        return left

    def _groups(self, share: float, config: Mapping[str, Any]) -> int:
        if not share:
            return self.groups
        left = max(1, round(self.groups * (1 - share)))
        if left == self.groups:
            raise NoEffectError(
                f"There are {self.groups} groups of heads, and {share:.2%} is less than half of one.",
                f"give --heads at least {1 / self.groups:.2%}." if self.groups > 1 else "leave --heads out.",
            )
        self._check_heads(left, config)
        return left

    def _check_heads(self, left: int, config: Mapping[str, Any]) -> None:
        """The config of transformers for a Llama wants states to be a multiple of the heads."""
        hidden, shared = _whole(config, "hidden_size"), self.heads // self.groups
        if config.get("model_type") != "llama" or hidden % (left * shared) == 0:
            return
        possible = [each for each in range(1, self.groups) if hidden % (each * shared) == 0]
        if not possible:
            raise BadInputError(
                f"Of the {self.groups} groups of heads of this Llama none can go: its hidden size must be a multiple "
                "of the number of its heads.",
                "leave --heads out.",
            )
        near = min(possible, key=lambda each: (abs(each - left), -each))
        raise BadInputError(
            f"With {left} of {self.groups} groups a Llama would have {left * shared} heads, and its hidden size of "
            f"{hidden} is no multiple of that.",
            f"give --heads {1 - near / self.groups:.4g}, which leaves {near} groups.",
        )


def _whole(config: Mapping[str, Any], key: str, usual: int | None = None) -> int:
    value = config.get(key)
    value = usual if value is None else value
    if type(value) is not int or value <= 0:
        raise BadInputError(f"config.json says nothing sensible about {key}.", "download it again.")
    return value


def _kinds(config: Mapping[str, Any]) -> list[str] | None:
    """What kind of attention each block has, if the config says so."""
    layers, said = _whole(config, "num_hidden_layers"), config.get("layer_types")
    if isinstance(said, list):
        if len(said) != layers:
            raise BadInputError(f"config.json names {len(said)} layer_types for {layers} blocks.", "download it again.")
        return [str(each) for each in said]
    windowed = config.get("model_type") in _WINDOWED and config.get("use_sliding_window")
    if not windowed or config.get("sliding_window") is None:
        return None
    first = config.get("max_window_layers")
    first = first if type(first) is int else _USUAL_WINDOWLESS
    return ["sliding_attention" if number >= first else "full_attention" for number in range(layers)]
