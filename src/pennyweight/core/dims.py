"""The dimensions of a transformer: the few numbers that its parameters, operations and bytes follow from."""

from __future__ import annotations

from dataclasses import dataclass

from pennyweight.errors import BadInputError


@dataclass(frozen=True, slots=True)
class Dims:
    """A decoder, an encoder or a vision transformer in numbers; what is zero is not there.

    `ffn` is the inner width of a dense block, `moe_ffn` that of one expert, `shared_ffn` that of all shared experts
    together; `gated` blocks have three matrices instead of two. `dense_layers` is how many layers are dense in a model
    with experts. With `kv_rank` the attention is latent (MLA): keys and values come from `kv_rank` + `rope_dim` numbers
    per token, queries from `q_rank`; a head's keys are `nope_dim` + `rope_dim` wide and its values `v_dim`. In
    `window_layers` layers a token sees the last `window` tokens only.
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

    def __post_init__(self) -> None:
        needed = {"layers": self.layers, "hidden": self.hidden, "heads": self.heads}
        for field, value in needed.items():
            if value < 1:
                raise BadInputError(f"The model {self.name} has {value} {field}.", f"give a whole number of {field}.")
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
        object.__setattr__(self, "kv_heads", self.kv_heads or self.heads)
        object.__setattr__(self, "head_dim", self.head_dim or self.hidden // self.heads)
