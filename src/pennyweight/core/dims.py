"""The dimensions of a transformer: the few numbers that its parameters, operations and bytes follow from."""

from __future__ import annotations

from dataclasses import dataclass, fields

from pennyweight.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Dims:
    """A decoder, an encoder or a vision transformer in numbers; what is zero is not there.

    What follows from other fields (`kv_heads`, `head_dim`, `moe_ffn` …) is filled in when it is made, and
    `dataclasses.replace` keeps it: give these again where you change what they follow from.

    A layer is a token mixer (attention) and a feed-forward block. `mixerless` layers have no mixer, `ffnless` none of
    the other, and `linear_layers` mix by a linear recurrence (Mamba-2, gated delta rule): `linear_in` is the width of
    its input projection, `linear_out` that which its output projection reads, `linear_extra` what else it learns, and
    `linear_state` the values it remembers per sequence.

    Attention: `head_dim` is the width of a query's and a key's head, `v_dim` that of a value's. With `kv_rank` it is
    latent (MLA): keys and values come from `kv_rank` + `rope_dim` numbers per token, queries from `q_rank`; a head's
    keys are `nope_dim` + `rope_dim` wide. In `window_layers` layers a token sees the last `window` tokens only, with
    `window_kv_heads` heads of `window_head_dim` where those differ. Full layers have `kv_matrices` (1: values are made
    by the matrix of the keys) and keep `kv_cached` vectors per head, of `kept` of all tokens. With `index_topk` a
    token attends to that many others, chosen in `index_layers` layers by `index_heads` heads of `index_dim` that keep
    one key of `index_kept` of all tokens. `out_rank` in `out_groups` groups splits the output projection in two;
    `attention_gate` doubles the queries; in `sink_layers` every head has a sink, one number.

    Feed-forward: `ffn` is the inner width of a dense block, `moe_ffn` that of one expert, `shared_ffn` that of all
    shared experts together; `gated` blocks have three matrices instead of two. `dense_layers` is how many layers are
    dense in a model with experts; experts read `moe_hidden` values, made by a matrix where that is not `hidden`.

    Around them: `norms` per layer and `end_norms` outside the layers are `hidden` wide; `bias` is short for the four
    other biases. The vocabulary is embedded in `embed_dim` values; `positions` and `token_types` are learned tables.
    `logits` are there unless a model ends in its hidden states. A vision model embeds patches of `patch_values`
    numbers and `class_tokens`; `head` is the width of a last linear layer (classes), `pooler` a square one before it;
    `end_bias`: the patch embedding, the head and the logits have biases. `mtp_layers` predict further tokens; they are
    counted apart.
    """

    name: str
    layers: int
    hidden: int
    heads: int
    ffn: int
    vocab: int
    kv_heads: int = 0
    head_dim: int = 0
    gated: bool = True
    tied: bool = False
    causal: bool = True
    bias: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    positions: int = 0
    max_context: int = 0
    experts: int = 0
    experts_per_token: int = 0
    moe_ffn: int = 0
    shared_ffn: int = 0
    dense_layers: int = 0
    q_rank: int = 0
    kv_rank: int = 0
    rope_dim: int = 0
    nope_dim: int = 0
    v_dim: int = 0
    window: int = 0
    window_layers: int = 0
    # what only some have
    out_bias: bool = False
    ffn_bias: bool = False
    norm_bias: bool = False
    end_bias: bool = False
    wide_qk_norm: bool = False  # over all heads together instead of each
    norms: int = 2
    end_norms: int = 1
    sink_layers: int = 0
    attention_gate: bool = False
    kv_matrices: int = 2
    kv_cached: int = 2
    kept: float = 1.0
    window_kv_heads: int = 0
    window_head_dim: int = 0
    index_layers: int = 0
    index_heads: int = 0
    index_dim: int = 0
    index_topk: int = 0
    index_kept: float = 1.0
    out_rank: int = 0
    out_groups: int = 1
    router_bias: bool = False
    shared_gate: bool = False
    moe_hidden: int = 0
    mixerless: int = 0
    ffnless: int = 0
    linear_layers: int = 0
    linear_in: int = 0
    linear_out: int = 0
    linear_extra: int = 0
    linear_state: int = 0
    embed_dim: int = 0
    token_types: int = 0
    logits: bool = True
    pooler: bool = False
    patch_values: int = 0
    class_tokens: int = 0
    head: int = 0
    mtp_layers: int = 0

    def __post_init__(self) -> None:
        self._check()
        latent = self.nope_dim + self.rope_dim if self.kv_rank else 0
        defaults = {
            "kv_heads": self.heads,
            "head_dim": latent or self.hidden // self.heads,
            "moe_ffn": self.ffn if self.experts else 0,
            "moe_hidden": self.hidden if self.experts else 0,
            "embed_dim": self.hidden if self.vocab else 0,
        }
        for field, value in defaults.items():
            object.__setattr__(self, field, getattr(self, field) or value)
        later = {"v_dim": self.head_dim, "window_kv_heads": self.kv_heads, "window_head_dim": self.head_dim}
        for field, value in later.items():
            object.__setattr__(self, field, getattr(self, field) or value)
        if self.bias:
            for field in ("qkv_bias", "out_bias", "ffn_bias", "norm_bias"):
                object.__setattr__(self, field, True)

    def _check(self) -> None:
        needed = {"layers": self.layers, "hidden": self.hidden, "heads": self.heads}
        for field, value in needed.items():
            if value < 1:
                raise BadInputError(f"The model {self.name} has {value} {field}.", f"give a whole number of {field}.")
        below = next((each.name for each in fields(self)[1:] if getattr(self, each.name) < 0), None)
        if below:
            raise BadInputError(f"{self.name} has {getattr(self, below)} {below}.", f"give zero or more {below}.")
        if self.heads % (self.kv_heads or 1):
            raise BadInputError(
                f"{self.name} has {self.heads} heads that {self.kv_heads} key-value heads cannot share.",
                "give a number of key-value heads that divides the heads.",
            )
        if self.experts and not 0 < self.experts_per_token <= self.experts:
            raise BadInputError(
                f"{self.name} sends a token to {self.experts_per_token} of {self.experts} experts.",
                "give experts_per_token between one and the number of experts.",
            )
        self._check_layers()

    def _check_layers(self) -> None:
        mixers = self.layers - self.mixerless
        parts = {
            "layers that are dense or have no feed-forward block": (self.dense_layers + self.ffnless, self.layers),
            "layers with a window or a linear recurrence": (self.window_layers + self.linear_layers, mixers),
        }
        for what, (some, every) in parts.items():
            if some > every:
                raise BadInputError(f"{self.name} has {some} {what}, of {every}.", "give no more than there are.")
        if self.window_layers and not self.window:
            raise BadInputError(f"{self.name} has {self.window_layers} layers with a window of 0.", "give its window.")

    @property
    def attention_layers(self) -> int:
        """How many layers attend, with a window or without."""
        return self.layers - self.mixerless - self.linear_layers

    @property
    def moe_layers(self) -> int:
        """How many layers have experts."""
        return self.layers - self.ffnless - self.dense_layers if self.experts else 0
