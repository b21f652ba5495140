"""Which tensors of a known architecture are the weights of linear layers within its blocks.

Source: the `state_dict` names of the models of Hugging Face's transformers, as their repositories hold them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Mapping

TRANSPOSED = ("gpt2",)
_HIDDEN = ("hidden_size", "n_embd", "d_model")
_LAYERS = ("num_hidden_layers", "n_layer")
_NO_LINEAR = re.compile(r"(embed|wte|wpe|norm|(^|\.)ln_|conv|patch|rotary|lm_head|score|classifier|router|gate$)")
_NAMED_BLOCK = re.compile(r"(?:^|\.)(?:layers?|blocks?|h)\.(\d+)\.")


@final
@dataclass(frozen=True, slots=True)
class Family:
    """One architecture: what stands before the number of a block (`block`), and the linear layers of a block.

    `linears` are the ends of names within a block, `*` for a number. `reads` are those of them whose input is as wide
    as the model, `writes` those whose output is. `heads` are linear layers outside the blocks, which stay as they are.
    """

    block: str
    linears: tuple[str, ...]
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    heads: tuple[str, ...] = ("lm_head",)

    def block_of(self, name: str) -> int | None:
        """The number of the block that a tensor belongs to, None outside of them."""
        match = re.match(rf"(?:\w+\.)*?{re.escape(self.block)}\.(\d+)\.", name)
        return int(match[1]) if match else None

    def is_linear(self, name: str) -> bool:
        """Whether a tensor is the weight of a linear layer within a block."""
        return self._ends(name, self.linears)

    def is_read(self, name: str) -> bool:
        """Whether the layer of that weight reads the hidden states."""
        return self._ends(name, self.reads)

    def is_write(self, name: str) -> bool:
        """Whether the layer of that weight writes hidden states."""
        return self._ends(name, self.writes)

    def _ends(self, name: str, ends: tuple[str, ...]) -> bool:
        inner = rf"(?:\w+\.)*?{re.escape(self.block)}\.\d+\.(?:{'|'.join(map(_pattern, ends))})\.weight"
        return bool(ends) and re.fullmatch(inner, name) is not None


def _pattern(end: str) -> str:
    return re.escape(end).replace(r"\*", r"\d+")


def _attention(*names: str) -> tuple[str, ...]:
    return tuple(f"self_attn.{name}" for name in names)


def _feed(*names: str, into: str = "mlp") -> tuple[str, ...]:
    return tuple(f"{into}.{name}" for name in names)


def _decoder(reads: tuple[str, ...], writes: tuple[str, ...]) -> Family:
    return Family("layers", (*reads, *writes), reads, writes)


_QKV, _GATED = _attention("q_proj", "k_proj", "v_proj"), _feed("gate_proj", "up_proj")
_LLAMA = _decoder((*_QKV, *_GATED), (*_attention("o_proj"), *_feed("down_proj")))
_PHI = _decoder((*_QKV, "mlp.fc1"), (*_attention("dense"), "mlp.fc2"))
_PHI3 = _decoder((*_attention("qkv_proj"), *_feed("gate_up_proj")), (*_attention("o_proj"), *_feed("down_proj")))
_MIXTRAL = _decoder(
    (*_QKV, *_feed("w1", "w3", into="block_sparse_moe.experts.*")),
    (*_attention("o_proj"), *_feed("w2", into="block_sparse_moe.experts.*")),
)
_QWEN_MOE = _decoder(
    (*_QKV, *_GATED, *_feed("gate_proj", "up_proj", into="mlp.experts.*")),
    (*_attention("o_proj"), *_feed("down_proj"), *_feed("down_proj", into="mlp.experts.*")),
)
_NEOX_READS = ("attention.query_key_value", "mlp.dense_h_to_4h")
_NEOX_WRITES = ("attention.dense", "mlp.dense_4h_to_h")
_NEOX = Family("layers", (*_NEOX_READS, *_NEOX_WRITES), _NEOX_READS, _NEOX_WRITES, ("embed_out", "lm_head"))
_BERT_READS = (*_feed("query", "key", "value", into="attention.self"), "intermediate.dense")
_BERT_WRITES = ("attention.output.dense", "output.dense")
_BERT_HEADS = (
    "pooler.dense",
    "classifier",
    "cls.predictions.transform.dense",
    "cls.predictions.decoder",
    "cls.seq_relationship",
    "lm_head.dense",
    "lm_head.decoder",
    "classifier.dense",
    "classifier.out_proj",
    "qa_outputs",
)
_BERT = Family("layer", (*_BERT_READS, *_BERT_WRITES), _BERT_READS, _BERT_WRITES, _BERT_HEADS)

FAMILIES: Mapping[str, Family] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text"), _LLAMA),
    "phi": _PHI,
    "phi3": _PHI3,
    "mixtral": _MIXTRAL,
    "qwen3_moe": _QWEN_MOE,
    "gpt_neox": _NEOX,
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), _BERT),
}


def family_of(config: Mapping[str, Any]) -> Family:
    """The architecture that a config.json names; raises `BadInputError` for one that is not known."""
    kind = str(config.get("model_type"))
    if kind in TRANSPOSED:
        raise BadInputError(
            "GPT-2 keeps its weights transposed (Conv1D), and no reader of packed weights takes these.",
            "use a model with linear layers, such as gpt_neox.",
        )
    if kind not in FAMILIES:
        raise BadInputError(
            f"The architecture {kind!r} is not known; known are {', '.join(sorted(FAMILIES))}.",
            "give --any to round every 2-D weight outside of embeddings, norms and heads.",
        )
    return FAMILIES[kind]


def is_any_linear(name: str) -> bool:
    """Whether a tensor of an unknown architecture is taken for the weight of a linear layer, by its name alone."""
    return name.endswith(".weight") and not _NO_LINEAR.search(name.removesuffix(".weight").lower())


def any_block_of(name: str) -> int | None:
    """The number of the block that a tensor of an unknown architecture seems to belong to."""
    match = _NAMED_BLOCK.search(name)
    return int(match[1]) if match else None


def hidden_of(config: Mapping[str, Any]) -> int | None:
    """How wide hidden states are, None if the config does not say."""
    return _first(config, _HIDDEN)


def layers_of(config: Mapping[str, Any]) -> int | None:
    """How many blocks the model has, None if the config does not say."""
    return _first(config, _LAYERS)


def _first(config: Mapping[str, Any], keys: tuple[str, ...]) -> int | None:
    found = next((config[key] for key in keys if key in config), None)
    return found if type(found) is int and found > 0 else None
