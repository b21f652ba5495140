"""The head of a GGUF file: what the model is, its words, where each tensor lies; as the `gguf` library packs it."""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.backends.large.ggml import load_gguf

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.backends.large.ggml_facts import Facts
    from pennyweight.backends.large.ggml_words import Words

_FILE = {"f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0", "q4_0": "MOSTLY_Q4_0"}

Outline = tuple[str, tuple[int, ...], str, int]
"""A tensor: its name, its shape (rows first), its type and its bytes."""


def architecture_of(facts: Facts) -> Any:
    """What the library calls the architecture."""
    known: dict[Any, str] = load_gguf().MODEL_ARCH_NAMES
    return next(each for each, name in known.items() if name == facts.architecture)


def described(name: str, facts: Facts, words: Words, to: str, outline: Sequence[Outline]) -> bytes:
    """All bytes before the first tensor."""
    gguf = load_gguf()
    writer = gguf.GGUFWriter(None, facts.architecture)
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType[_FILE[to]])
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _add_facts(writer, facts)
    _add_rope(gguf, writer, facts)
    _add_words(writer, words)
    for each, shape, kind, byte in outline:
        writer.add_tensor_info(each, shape, np.dtype(np.float32), byte, raw_dtype=gguf.GGMLQuantizationType[kind])
    # the library writes to files it opens itself, following links; here it packs, and others write
    room = BytesIO()
    writer.fout, writer.state = [room], gguf.gguf_writer.WriterState.EMPTY
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.write_padding(room, room.tell())
    return room.getvalue()


def _add_facts(writer: Any, facts: Facts) -> None:
    writer.add_context_length(facts.context_length)
    writer.add_embedding_length(facts.embedding_length)
    writer.add_block_count(facts.block_count)
    writer.add_feed_forward_length(facts.feed_forward_length)
    writer.add_head_count(facts.head_count)
    writer.add_head_count_kv(facts.kv_head_count)
    writer.add_key_length(facts.head_length)
    writer.add_value_length(facts.head_length)
    writer.add_layer_norm_rms_eps(facts.rms_epsilon)


def _add_rope(gguf: Any, writer: Any, facts: Facts) -> None:
    writer.add_rope_dimension_count(facts.head_length)
    writer.add_rope_freq_base(facts.rope.base)
    if facts.rope.kind not in {"linear", "yarn"}:
        return  # of Llama 3.1 the factors lie in a tensor
    writer.add_rope_scaling_type(gguf.RopeScalingType(facts.rope.kind))
    writer.add_rope_scaling_factor(facts.rope.stretch["factor"])
    if facts.rope.kind == "yarn":
        writer.add_rope_scaling_orig_ctx_len(int(facts.rope.stretch["original_max_position_embeddings"]))


def _add_words(writer: Any, words: Words) -> None:
    writer.add_vocab_size(len(words.tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.kinds)
    writer.add_token_merges(words.merges)
    for role, number in words.special.items():
        getattr(writer, f"add_{role}_token_id")(number)
    writer.add_add_bos_token(words.begins)
    writer.add_add_eos_token(words.ends)
    if words.template:
        writer.add_chat_template(words.template)
