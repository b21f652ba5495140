"""What a config.json says in the words of llama.cpp: widths, heads, rotary positions; for families that it runs alike.

Source: the keys of the `gguf` package, and the graphs of llama.cpp for the architectures llama, qwen2 and qwen3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

ARCHITECTURES = {"llama": "llama", "mistral": "llama", "qwen2": "qwen2", "qwen3": "qwen3"}
_WHOLE = {
    "hidden_size": "embedding_length",
    "intermediate_size": "feed_forward_length",
    "num_hidden_layers": "block_count",
    "num_attention_heads": "head_count",
    "max_position_embeddings": "context_length",
}
_ROPES = ("default", "linear", "yarn", "llama3")
_AGAIN = "download config.json again."


@final
@dataclass(frozen=True, slots=True)
class Rope:
    """Rotary positions: the base, and how they are stretched (`kind` default, linear, yarn or llama3) by what."""

    base: float
    kind: str = "default"
    stretch: Mapping[str, float] = field(default_factory=dict)

    def factors(self, head: int) -> NDArray[np.float32] | None:
        """What llama.cpp divides each frequency of a head (head / 2) by; None if it knows itself.

        Llama 3.1's rule: with w the wavelength and c the first context length, frequencies of w < c / high stay, those
        of w > c / low are divided by the factor, those between go over linearly in c / w.
        """
        if self.kind != "llama3":
            return None
        factor, low, high = (self.stretch[name] for name in ("factor", "low_freq_factor", "high_freq_factor"))
        waves = 2 * math.pi * self.base ** (np.arange(0, head, 2) / head)
        share = (self.stretch["original_max_position_embeddings"] / waves - low) / (high - low)
        share = share.clip(0, 1)
        return (1 / ((1 - share) / factor + share)).astype(np.float32)


@final
@dataclass(frozen=True, slots=True)
class Facts:
    """What llama.cpp must know of a model; `context_length` is no longer than a window that it would not have."""

    family: str
    embedding_length: int
    feed_forward_length: int
    block_count: int
    head_count: int
    kv_head_count: int
    head_length: int
    context_length: int
    rms_epsilon: float
    rope: Rope
    tied: bool

    @property
    def architecture(self) -> str:
        """What llama.cpp calls it."""
        return ARCHITECTURES[self.family]

    @property
    def interleaved(self) -> bool:
        """Whether llama.cpp turns neighbouring numbers of a head together, and not one of each half."""
        return self.architecture == "llama"


def facts_of(config: Mapping[str, Any]) -> Facts:
    """Read a config.json; raises `BadInputError` for a family or a setting that llama.cpp would run otherwise."""
    family = str(config.get("model_type"))
    if family not in ARCHITECTURES:
        raise BadInputError(
            f"The architecture {family!r} is not written as GGUF here.",
            f"give a model of {', '.join(sorted(ARCHITECTURES))}.",
        )
    _check(config)
    found = {name: _whole(config, said) for said, name in _WHOLE.items()}
    heads = found["head_count"]
    kv = _whole({"num_key_value_heads": heads} | dict(config), "num_key_value_heads")
    head = config.get("head_dim") or found["embedding_length"] // heads
    if heads % kv or type(head) is not int or head < 2 or head % 2:
        raise BadInputError(f"config.json has {heads} heads, {kv} of keys, {head} wide, which cannot be.", _AGAIN)
    found["context_length"] = min(found["context_length"], _window(config))
    epsilon = config.get("rms_norm_eps")
    if not isinstance(epsilon, float) or not 0 < epsilon < 1:
        raise BadInputError(f"config.json has {epsilon!r} as rms_norm_eps.", _AGAIN)
    return Facts(
        family=family,
        kv_head_count=kv,
        head_length=head,
        rms_epsilon=epsilon,
        rope=_rope(config),
        tied=config.get("tie_word_embeddings") is True,
        **found,
    )


def _check(config: Mapping[str, Any]) -> None:
    if config.get("quantization_config"):
        raise BadInputError(
            "The weights of this checkpoint are rounded already.",
            "give the checkpoint that it was made from, with --to q4_0 or q8_0.",
        )
    if config.get("hidden_act", "silu") != "silu":
        raise BadInputError(
            f"llama.cpp has no {config['hidden_act']} in this architecture.", "give a model whose hidden_act is silu."
        )


def _whole(config: Mapping[str, Any], name: str) -> int:
    found = config.get(name)
    if type(found) is not int or not 0 < found < 1 << 31:
        raise BadInputError(f"config.json has {found!r} as {name}.", _AGAIN)
    return found


def _window(config: Mapping[str, Any]) -> int:
    """How far back tokens look; llama.cpp has no window in these architectures, so texts must not be longer."""
    used = config.get("use_sliding_window", config.get("model_type") == "mistral")
    window = config.get("sliding_window")
    return window if used and type(window) is int and window > 0 else 1 << 31


def _rope(config: Mapping[str, Any]) -> Rope:
    said = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if not isinstance(said, dict):
        raise BadInputError("config.json says nothing sensible about rotary positions.", _AGAIN)
    base = said.get("rope_theta", config.get("rope_theta", 10_000.0))
    kind = said.get("rope_type", said.get("type", "default"))
    whole = said.get("partial_rotary_factor", config.get("partial_rotary_factor", 1)) == 1
    if kind not in _ROPES or not whole or not isinstance(base, (int, float)) or base <= 1:
        raise BadInputError(
            f"llama.cpp turns positions otherwise than this model ({kind}, base {base}).",
            f"give a model whose whole heads are turned, stretched by one of {', '.join(_ROPES)}.",
        )
    return Rope(float(base), kind, _stretch(config, said, kind))


def _stretch(config: Mapping[str, Any], said: Mapping[str, Any], kind: str) -> dict[str, float]:
    needed = {
        "default": (),
        "linear": ("factor",),
        "yarn": ("factor", "original_max_position_embeddings"),
        "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    }[kind]
    found = {name: said.get(name, config.get(name)) for name in needed}
    if not all(isinstance(value, (int, float)) and value > 0 for value in found.values()):
        raise BadInputError(f"config.json does not say all of how positions are stretched ({kind}).", _AGAIN)
    if kind == "yarn" and any(said.get(name) for name in ("beta_fast", "beta_slow", "attention_factor", "mscale")):
        raise BadInputError("This model stretches positions by settings of its own.", "give a model with yarn's usual.")
    return {name: float(value) for name, value in found.items() if value is not None}
