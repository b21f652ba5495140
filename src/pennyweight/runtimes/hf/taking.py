"""Which checkpoints there is a graph of: by their config, and by the names and kinds of all of their weights."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pennyweight.core import YES, Verdict, no
from pennyweight.runtimes.hf.llama_graph import Decoder, positions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.runtimes.hf.mapped import Mapped

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_LINEAR = (
    *(f"self_attn.{each}_proj" for each in "qkvo"),
    *(f"mlp.{each}_proj" for each in ("gate", "up", "down")),
)
_NAMES = re.compile(
    r"(model\.embed_tokens|lm_head|model\.norm"
    r"|model\.layers\.(?P<layer>[0-9]{1,6})\.(\w+_layernorm|self_attn\.([qkvo]_proj|[qk]_norm)|mlp\.(gate|up|down)_proj))"
    r"\.(weight|bias|weight_(packed|scale|shape|zero_point|g_idx))|.*\.inv_freq"
)
_ROPES = ("default", "linear", "llama3")


def takes(config: Mapping[str, Any], tensors: Mapped) -> Verdict:
    """Whether there is such a graph of a checkpoint, or why not."""
    try:
        return _taken(config, tensors)
    except (AttributeError, LookupError, TypeError, ValueError, ArithmeticError):
        return no("its config.json or its packed weights are not as they should be")


def _taken(config: Mapping[str, Any], tensors: Mapped) -> Verdict:
    if config.get("model_type") not in FAMILIES:
        return no(f"there is no graph of {config.get('model_type')}")
    if config.get("hidden_act", "silu") != "silu":
        return no(f"its layers have {config['hidden_act']}")
    rope = positions(config)
    if rope.get("rope_type", "default") not in _ROPES or rope.get("partial_rotary_factor", 1) != 1:
        return no(f"its positions are {rope.get('rope_type')}")
    count = Decoder.of(config).layers
    odd = [name for name in tensors if not _used(name, count)]
    if odd:
        return no(f"it has weights that such a graph does not use, such as {odd[0]!r}")
    layers = [f"model.layers.{at}.{each}" for at in range(count) for each in _LINEAR]
    whys = [why for why in (tensors.refused(each) for each in layers) if why]
    return no(f"it has {whys[0]}") if whys else YES


def _used(name: str, layers: int) -> bool:
    """Whether a tensor is one of a graph with so many layers, or one that nobody needs."""
    found = _NAMES.fullmatch(name)
    return found is not None and int(found["layer"] or 0) < layers
