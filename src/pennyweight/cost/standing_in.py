"""Models that stand in for one nobody described: a relative made as large as the name says, or a usual transformer.

A relative keeps its layers and the shape of its attention; what is made wider is its width, then the number of its
experts or the width of its feed-forward block, until its parameters are those asked for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pennyweight.core.dims import Dims
from pennyweight.cost.transformer import active_parameters, parameters

if TYPE_CHECKING:
    from typing import Any

_STEP = 64  # widths are multiples of it
_HEAD, _GROUPS = 128, 8
_VOCAB = 128256
_TIED = 3e9  # parameters up to which a model usually uses its embeddings again
_CONTEXT = 131072
_EXPERTS, _SENT = 128, 8
_MOE_SHARE = 0.375  # of the width that one expert is wide inside
_WIDE = ("ffn", "shared_ffn", "linear_in", "linear_out", "linear_extra", "linear_state")
_LEAST, _MOST = 1e6, 1e14
_RANGE = 1e4
_SPARSE = 0.6  # a larger share of active parameters is no mixture of so many experts


def usual(name: str, every: float, active: float) -> Dims:
    """A decoder with `every` parameters, of which `active` are used per token, as such models usually are.

    Layers grow with the 0.36th power of the parameters; a mixture has 128 experts as narrow as in Qwen3, of which
    eight are used. From published models of 0.1 to 1,000 billion parameters.
    """
    every = min(max(every, _LEAST), _MOST)
    active = min(max(active, every / _RANGE), every)
    if active < _SPARSE * every:
        return _usual_mixture(name, every, active)
    layers = max(round(16.5 * (every / 1e9) ** 0.36), 2)
    first = _decoder(name, layers, _width(every, layers, 12.6), every)
    return _filled(first, every)


def scaled(relative: Dims, name: str, every: float, active: float) -> Dims:
    """The relative with `every` parameters; of a mixture, about `active` of them used per token."""
    whole, used = float(parameters(relative)), float(active_parameters(relative))
    grown = (active / used if relative.experts else every / whole) ** 0.5
    heads = max(round(relative.heads * grown / relative.kv_heads), 1) * relative.kv_heads
    hidden = _even(relative.hidden * grown)
    wide: dict[str, Any] = {each: _even(getattr(relative, each) * grown) for each in _WIDE if getattr(relative, each)}
    if relative.experts:
        wide["moe_ffn"] = _even(relative.moe_ffn * grown)
        wide["moe_hidden"] = hidden if relative.moe_hidden == relative.hidden else _even(relative.moe_hidden * grown)
    if relative.vocab:
        wide["embed_dim"] = hidden if relative.embed_dim == relative.hidden else relative.embed_dim
    return _filled(replace(relative, name=name, hidden=hidden, heads=heads, **wide), every)


def _usual_mixture(name: str, every: float, active: float) -> Dims:
    layers = max(round(16.5 * (active / 1e9) ** 0.36), 48) if every > 1e10 else 24
    hidden = _width(active, layers, 3.0 + 3.0 * _SENT * _MOE_SHARE)
    narrow = _even(_MOE_SHARE * hidden)
    more = {"experts": _EXPERTS, "experts_per_token": _SENT, "moe_ffn": narrow}
    return _filled(_decoder(name, layers, hidden, every, **more), every)


def _decoder(name: str, layers: int, hidden: int, every: float, **more: Any) -> Dims:
    heads = max(round(hidden / _HEAD / _GROUPS), 1) * _GROUPS
    return Dims(
        name,
        layers,
        hidden,
        heads,
        _even(3.5 * hidden),
        _VOCAB,
        kv_heads=_GROUPS,
        head_dim=_HEAD,
        tied=every <= _TIED,
        max_context=_CONTEXT,
        **more,
    )


def _width(every: float, layers: int, squares: float) -> int:
    """The width of so many layers of `squares` times its square each, beside embeddings, of `every` parameters."""
    tables = _VOCAB * (1 if every <= _TIED else 2)
    half = tables / (2 * squares * layers)
    return max(_even((half * half + every / (squares * layers)) ** 0.5 - half), _STEP)


def _filled(d: Dims, every: float) -> Dims:
    """The same with as many experts, or as wide a feed-forward block, as make it `every` parameters large."""
    missing = every - float(parameters(d))
    if d.experts and d.moe_layers:
        one = float(parameters(replace(d, experts=d.experts + 1))) - float(parameters(d))
        step = 8 if d.experts > 16 else 1
        experts = round((d.experts + missing / one) / step) * step
        return replace(d, experts=max(experts, d.experts_per_token, 1))
    if not d.ffn or d.layers == d.ffnless:
        return d
    one = float(parameters(replace(d, ffn=d.ffn + 1))) - float(parameters(d))
    return replace(d, ffn=_even(d.ffn + missing / one))


def _even(width: float) -> int:
    return max(round(width / _STEP), 1) * _STEP
