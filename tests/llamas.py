"""Tiny checkpoints with random weights, as transformers writes them, for tests of whatever reads such folders."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """The mill stood by the river, and the miller weighed what the farmers brought. A sack of wheat was forty
pounds, a sack of rye was thirty-six; he wrote the weight, the name and the day in a long book, and at the end of the
month he added the columns. In winter the river froze and the wheel stood still, so the miller mended his sacks, filed
his weights and read the book again. Every weight was stamped: one pound, one ounce, one pennyweight, one grain. Twenty
pennyweights are an ounce of silver, and twenty-four grains are a pennyweight. The smith said that a light weight makes
a light purse. The miller said that a book which is never read is only paper. In spring the ice broke, the wheel turned,
and the first cart came down the hill with nine sacks of barley, two of oats and one of peas. What is it worth, asked
the farmer. What it weighs, said the miller, and not a grain more. They shook hands, and the cart went home empty."""
CHAT = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
SPECIAL = ("<|end|>", "<|pad|>", "<|mask|>", "<|user|>", "<|assistant|>", "<|system|>")
_ROLES = {f"{role}_token": SPECIAL[at] for role, at in (("bos", 0), ("eos", 0), ("pad", 1), ("mask", 2))}
FAMILIES = (
    "llama",
    "qwen2",
    "qwen3",
    "mistral",
    "gemma2",
    "phi",
    "phi3",
    "gpt_neox",
    "gpt2",
    "mixtral",
    "qwen3_moe",
    "bert",
)


def write_llama(
    folder: Path,
    *,
    layers: int = 2,
    width: int = 64,
    seed: int = 0,
    family: str = "llama",
    shards: int = 1,
    vocabulary: int = 384,
    context: int = 256,
    dtype: str = "float32",
    chat: bool = True,
    tied: bool = False,
    noise: float = 0.0,
    labels: int = 0,
) -> Path:
    """Write config.json, weights in `shards` files and a tokenizer of at most `vocabulary` tokens to `folder`.

    The same `seed` makes the same weights; `noise` then moves each by a normal number of that many of its tensor's
    standard deviations. A "bert" is an encoder alone, or classifies with so many `labels`. Returns the folder.
    """
    import torch
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()
    tokenizer(vocabulary, context, chat=chat).save_pretrained(folder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = build(family, _shape(layers, width, vocabulary, context, tied=tied), labels)
        _stir(model, noise, seed)
    model = model.to(getattr(torch, dtype)).eval()
    byte = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    model.save_pretrained(folder, max_shard_size=byte if shards == 1 else -(-byte // shards))
    return folder


def tokenizer(vocabulary: int = 384, context: int = 256, *, chat: bool = True) -> Any:
    """A byte-level BPE that has learnt `TEXT`: any text is encoded, and decoded to the same text."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_learnt(vocabulary)),
        additional_special_tokens=list(SPECIAL[3:]),
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT if chat else None,
        **_ROLES,
    )


def build(family: str, shape: dict[str, Any], labels: int = 0) -> Any:
    """A model of `family` in the common names of `shape` (hidden_size, num_hidden_layers, …), weights random."""
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

    known = dict(shape) | _special(family, shape)
    if family == "bert" and labels:
        return AutoModelForSequenceClassification.from_config(AutoConfig.for_model(family, num_labels=labels, **known))
    config = AutoConfig.for_model(family, **known)
    if family == "bert":
        return AutoModel.from_config(config)
    return AutoModelForCausalLM.from_config(config)


def settings_of(folder: Path) -> dict[str, Any]:
    """What config.json says."""
    found: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return found


@cache
def _learnt(vocabulary: int) -> str:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        show_progress=False,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    made.train_from_iterator([TEXT], trainer)
    text: str = made.to_str()
    return text


def _shape(layers: int, width: int, vocabulary: int, context: int, *, tied: bool) -> dict[str, Any]:
    return {
        "num_hidden_layers": layers,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": vocabulary,
        "max_position_embeddings": context,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": 1,
        "tie_word_embeddings": tied,
    }


def _special(family: str, shape: dict[str, Any]) -> dict[str, Any]:
    """What a family calls otherwise, or asks for beside."""
    head = shape["hidden_size"] // shape["num_attention_heads"]
    experts = {"num_experts_per_tok": 2, "moe_intermediate_size": shape["hidden_size"]}
    named: dict[str, dict[str, Any]] = {
        "qwen3": {"head_dim": head},
        "gemma2": {"head_dim": head, "query_pre_attn_scalar": head},
        "gpt2": {"n_inner": shape["intermediate_size"], "n_positions": shape["max_position_embeddings"]},
        "mixtral": {"num_local_experts": 4, **experts},
        "qwen3_moe": {"num_experts": 4, "head_dim": head, **experts},
    }
    return named.get(family, {})


def _stir(model: Any, noise: float, seed: int) -> None:
    import torch

    torch.manual_seed(seed + 1)
    with torch.no_grad():
        for weight in model.parameters():
            if noise and weight.dim() > 1:
                weight.add_(torch.randn_like(weight), alpha=noise * float(weight.std()))
