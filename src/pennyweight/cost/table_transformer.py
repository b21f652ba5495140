"""The operator table of a transformer, from its dimensions alone: some twenty rows however many layers it has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core import Kind, Op
from pennyweight.cost.transformer import seen_tokens, window_v_dim

if TYPE_CHECKING:
    from pennyweight.core.dims import Dims


def table_of_dims(d: Dims, tokens: int, context: int | None = None) -> tuple[Op, ...]:
    """The operators of one pass over the last `tokens` of a sequence that then has `context` tokens (default: all).

    An example is that sequence. FLOP and stored values are those of `forward_flop` and `parameters`. A matrix of
    experts stands for all of them, each at its share of the tokens.
    """
    context = tokens if context is None else context
    pass_ = _Pass(d, tokens, context)
    rows = [*_first(pass_), *_mixers(pass_), *_blocks(pass_), *_last(pass_)]
    return tuple(row for row in rows if row.times > 0 and row.n_in > 0 and row.n_out > 0)


@dataclass(frozen=True, slots=True)
class _Pass:
    """A model, and over how many tokens it goes."""

    d: Dims
    tokens: int
    context: int

    def linear(self, name: str, sides: tuple[int, int], times: int, *, bias: int = 0, share: float = 1.0) -> Op:
        """A matrix at every token, or a share of them."""
        positions = self.tokens * share
        return Op(name, Kind.LINEAR, *sides, positions=positions, per_out=bias, times=times)

    def learned(self, name: str, values: int, times: int) -> Op:
        """Values that scale or shift what passes, as a norm does."""
        return Op(name, Kind.NORM, values, values, positions=self.tokens, per_out=1, times=times)

    def pairs(self, window: int, kept: float) -> float:
        """How many pairs of tokens meet in one head."""
        most = min(window or self.context, self.context)
        if not self.d.causal:
            return self.tokens * most * kept
        return float(seen_tokens(self.tokens, self.context, most)) * kept


@dataclass(frozen=True, slots=True)
class _Heads:
    """The heads of some of the layers."""

    layers: int
    kv_heads: int
    width: int
    v_width: int
    kv_matrices: int
    window: int
    kept: float = 1.0


def _first(p: _Pass) -> list[Op]:
    d = p.d
    tables = {"tokens": d.vocab, "positions": d.positions, "token types": d.token_types, "class": d.class_tokens}
    widths = {"tokens": d.embed_dim}
    rows = [Op(name, Kind.EMBED, size, widths.get(name, d.hidden), positions=p.tokens) for name, size in tables.items()]
    narrow = int(d.vocab > 0 and d.embed_dim != d.hidden)
    patches = (p.tokens - d.class_tokens) / p.tokens
    return [
        *rows,
        p.linear("widen", (d.embed_dim, d.hidden), narrow),
        p.linear("patches", (d.patch_values, d.hidden), 1, bias=d.end_bias, share=patches),
        Op("norm", Kind.NORM, d.hidden, d.hidden, positions=p.tokens, per_out=1 + d.norm_bias, times=_norms(d)),
        Op("residual", Kind.POINTWISE, d.hidden, d.hidden, positions=p.tokens, times=d.layers * 2, intake=2),
    ]


def _norms(d: Dims) -> int:
    return d.layers * d.norms + d.end_norms


def _mixers(p: _Pass) -> list[Op]:
    d = p.d
    seen = round(d.index_topk / d.kept) if d.index_topk else 0
    full = d.attention_layers - d.window_layers
    wide = _Heads(full, d.kv_heads, d.head_dim, d.v_dim, d.kv_matrices, seen, d.kept)
    narrow = _Heads(d.window_layers, d.window_kv_heads, d.window_head_dim, window_v_dim(d), 2, d.window)
    made = _latent(p, full) if d.kv_rank else _plain(p, wide, "")
    rows = [*made, *_plain(p, narrow, "window ")]
    return [*rows, *_core(p, wide, ""), *_core(p, narrow, "window "), *_index(p), *_recurrences(p)]


def _plain(p: _Pass, heads: _Heads, mark: str) -> list[Op]:
    """Queries, keys, values, output; norms of heads."""
    d = p.d
    keys, values = heads.kv_heads * heads.width, heads.kv_heads * heads.v_width * (heads.kv_matrices - 1)
    normed = (d.heads + heads.kv_heads) * heads.width if d.wide_qk_norm else 2 * heads.width
    return [
        *_queries(p, heads, mark),
        p.linear(f"{mark}keys", (d.hidden, keys), heads.layers, bias=d.qkv_bias),
        p.linear(f"{mark}values", (d.hidden, values), heads.layers, bias=d.qkv_bias),
        p.learned(f"{mark}norm of heads", normed, heads.layers * d.qk_norm),
        *_output(p, heads, mark),
    ]


def _latent(p: _Pass, layers: int) -> list[Op]:
    """Latent attention: keys and values are made from a few numbers per token."""
    d = p.d
    heads = _Heads(layers, d.heads, d.head_dim, d.v_dim, 2, 0)
    normed = (d.heads + d.kv_heads) * d.head_dim if d.wide_qk_norm else 2 * d.head_dim
    biases = d.kv_heads * (d.head_dim + d.v_dim)
    return [
        *_queries(p, heads, ""),
        p.linear("keys and values, down", (d.hidden, d.kv_rank + d.rope_dim), layers),
        p.learned("norm of keys and values", d.kv_rank, layers),
        p.linear("keys and values, up", (d.kv_rank, d.heads * (d.nope_dim + d.v_dim)), layers),
        p.learned("biases of keys and values", biases, layers * d.qkv_bias),
        p.learned("norm of heads", normed, layers * d.qk_norm),
        *_output(p, heads, ""),
    ]


def _queries(p: _Pass, heads: _Heads, mark: str) -> list[Op]:
    d = p.d
    wide = d.heads * heads.width * (1 + d.attention_gate)
    if not d.q_rank:
        return [p.linear(f"{mark}queries", (d.hidden, wide), heads.layers, bias=d.qkv_bias)]
    return [
        p.linear(f"{mark}queries, down", (d.hidden, d.q_rank), heads.layers),
        p.learned(f"{mark}norm of queries", d.q_rank, heads.layers),
        p.linear(f"{mark}queries, up", (d.q_rank, wide), heads.layers, bias=d.qkv_bias),
    ]


def _output(p: _Pass, heads: _Heads, mark: str) -> list[Op]:
    d = p.d
    wide = d.heads * heads.v_width
    if not d.out_rank:
        return [p.linear(f"{mark}output", (wide, d.hidden), heads.layers, bias=d.out_bias)]
    middle = d.out_groups * d.out_rank
    down = Op(
        f"{mark}output, down", Kind.LINEAR, wide, middle, positions=p.tokens, groups=d.out_groups, times=heads.layers
    )
    return [down, p.linear(f"{mark}output, up", (middle, d.hidden), heads.layers, bias=d.out_bias)]


def _core(p: _Pass, heads: _Heads, mark: str) -> list[Op]:
    """Scores, their softmax, and weighted values; a row of scores is as long as the context."""
    d = p.d
    rows = d.heads * p.pairs(heads.window, heads.kept) / p.context
    shared, times = heads.kv_heads, heads.layers
    return [
        Op(f"{mark}scores", Kind.MATMUL, heads.width, p.context, positions=rows, groups=shared, times=times),
        Op(f"{mark}softmax", Kind.SOFTMAX, p.context, p.context, positions=rows, times=times),
        Op(f"{mark}weighted values", Kind.MATMUL, p.context, heads.v_width, positions=rows, groups=shared, times=times),
    ]


def _index(p: _Pass) -> list[Op]:
    """Sinks, and what chooses the tokens to attend to."""
    d = p.d
    rows = d.index_heads * p.pairs(0, d.index_kept) / p.context
    return [
        p.learned("sinks", d.heads, d.sink_layers),
        p.linear("index queries", (d.q_rank or d.hidden, d.index_heads * d.index_dim), d.index_layers),
        p.linear("index keys", (d.hidden, d.index_dim + d.index_heads), d.index_layers),
        p.learned("norm of the index", 2 * d.index_dim, d.index_layers),
        Op("index scores", Kind.MATMUL, d.index_dim, p.context, positions=rows, times=d.index_layers),
    ]


def _recurrences(p: _Pass) -> list[Op]:
    """A linear recurrence writes its state and reads it."""
    d = p.d
    return [
        p.linear("recurrence in", (d.hidden, d.linear_in), d.linear_layers),
        p.learned("recurrence", d.linear_extra, d.linear_layers),
        Op("state", Kind.MATMUL, d.linear_state, 1, positions=2 * p.tokens, times=d.linear_layers),
        p.linear("recurrence out", (d.linear_out, d.hidden), d.linear_layers),
    ]


def _blocks(p: _Pass) -> list[Op]:
    d = p.d
    moe, each = d.moe_layers, d.moe_layers * d.experts
    share = d.experts_per_token / d.experts if d.experts else 0.0
    narrowed = moe * (d.moe_hidden != d.hidden)
    return [
        *_block(p, "", (d.hidden, d.ffn), d.layers - d.ffnless - moe),
        p.linear("router", (d.hidden, d.experts), moe, bias=d.router_bias),
        p.linear("to experts", (d.hidden, d.moe_hidden), narrowed),
        *_block(p, "expert ", (d.moe_hidden, d.moe_ffn), each, share),
        p.linear("from experts", (d.moe_hidden, d.hidden), narrowed),
        *_block(p, "shared ", (d.hidden, d.shared_ffn), moe),
        p.linear("shared gate", (d.hidden, 1), moe * d.shared_gate),
    ]


def _block(p: _Pass, mark: str, sides: tuple[int, int], times: int, share: float = 1.0) -> list[Op]:
    """Two matrices, or three and a product, with what is pointwise between them."""
    outer, inner = sides
    times *= inner > 0
    bias, gated = p.d.ffn_bias, p.d.gated
    at = p.tokens * share
    return [
        p.linear(f"{mark}gate", (outer, inner), times * gated, bias=bias, share=share),
        p.linear(f"{mark}up", (outer, inner), times, bias=bias, share=share),
        Op(f"{mark}activation", Kind.POINTWISE, inner, inner, positions=at, times=times, intake=1 + gated),
        p.linear(f"{mark}down", (inner, outer), times, bias=bias, share=share),
    ]


def _last(p: _Pass) -> list[Op]:
    d = p.d
    narrow = int(d.vocab > 0 and d.embed_dim != d.hidden)
    share = 1.0 if d.logits else 1 / p.tokens
    logits = p.linear("logits", (d.embed_dim, d.vocab), int(d.logits and not d.tied))
    tied = Op("logits, tied", Kind.MATMUL, d.embed_dim, d.vocab, positions=p.tokens, times=int(d.logits and d.tied))
    return [
        p.linear("pooler", (d.hidden, d.hidden), int(d.pooler), bias=1, share=share),
        p.linear("narrow", (d.hidden, d.embed_dim), narrow),
        logits,
        tied,
        p.learned("bias of logits", d.vocab, int(d.logits and d.end_bias)),
        p.linear("head", (d.hidden, d.head), 1, bias=d.end_bias, share=1 / p.tokens),
    ]
