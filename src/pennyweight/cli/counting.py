"""`pennyweight count` for a large model known by its dimensions: parameters, FLOP per token, bytes."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from pennyweight.cli.screen import say, say_json, say_table
from pennyweight.errors import BadInputError
from pennyweight.units import percent, si

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims

_SHOWN_CONTEXT = 8192
_KV_BYTE = 2
_WEIGHTS = ("fp32", "bf16", "fp8", "mxfp8", "nvfp4", "int4")


def tell_model(text: str, context: int | None, *, json: bool) -> None:
    """Count the model called `text` in the catalog, or described by the config.json there."""
    from pennyweight.cost.hf_config import dims_of

    facts = model_facts(dims_of(text), context)
    if json:
        say_json(facts)
        return
    parts = facts["parts"].items()
    rows = [[part.replace("_", " "), f"{count:,}", percent(count / facts["parameters"], 1)] for part, count in parts]
    say(facts["model"])
    say_table("", ["part", "parameters", "share"], [row for row in rows if row[1] != "0"], (1, 2))
    say(_sizes(facts))
    stored = [f"{si(byte, 'B')} in {name}" for name, byte in facts["weight_byte"].items()]
    say(f"  stored     {', '.join(stored)}")
    say(_running(facts))


def model_facts(d: Dims, context: int | None) -> dict[str, Any]:
    """What is told of a model, in SI units; FLOP and bytes kept are those of a sequence of `context` tokens."""
    from pennyweight.cost.transformer import (
        active_parameters,
        forward_flop,
        kv_byte,
        kv_byte_token,
        mtp_parameters,
        parameters,
        split_parameters,
    )
    from pennyweight.layout.memory.serving import WEIGHT_BYTE

    tokens = _context(d, context)
    flop, parts, total = forward_flop(d, tokens), split_parameters(d), parameters(d)
    keeps = d.causal
    return {
        "model": d.name,
        "parameters": total,
        "active_parameters": active_parameters(d),
        "mtp_parameters": int(mtp_parameters(d)),
        "parts": {each.name: getattr(parts, each.name) for each in fields(parts)},
        "weight_byte": {name: total * WEIGHT_BYTE[name] for name in _WEIGHTS},
        "context": tokens,
        "flop_token": float(flop.total) / tokens,
        "flop_token_parts": {each.name: float(getattr(flop, each.name)) / tokens for each in fields(flop)},
        "kv_byte_token": float(kv_byte_token(d, _KV_BYTE)) if keeps else 0.0,
        "kv_byte": float(kv_byte(d, tokens, _KV_BYTE)) if keeps else 0.0,
        "dims": {name: value for name, value in asdict(d).items() if value},
    }


def _context(d: Dims, context: int | None) -> int:
    if context is None:
        return min(d.max_context or _SHOWN_CONTEXT, _SHOWN_CONTEXT)
    if d.max_context and context > d.max_context:
        raise BadInputError(
            f"{d.name} reads {d.max_context} tokens, not {context}.", f"give --context {d.max_context} or less."
        )
    return context


def _sizes(facts: dict[str, Any]) -> str:
    more = f", {si(facts['mtp_parameters'], '').strip()} more that predict further tokens" * (
        facts["mtp_parameters"] > 0
    )
    active = facts["active_parameters"]
    some = f", {active:,} of them active per token" * (active < facts["parameters"])
    return f"  parameters {facts['parameters']:,}{some}{more}"


def _running(facts: dict[str, Any]) -> str:
    flop = f"  forward    {si(facts['flop_token'], 'FLOP')} per token over {facts['context']:,} tokens"
    if not facts["kv_byte"]:
        return flop
    each, kept = si(facts["kv_byte_token"], "B"), si(facts["kv_byte"], "B")
    return f"{flop}\n  KV cache   {each} per token in 16 bits, {kept} per sequence of {facts['context']:,} tokens"
