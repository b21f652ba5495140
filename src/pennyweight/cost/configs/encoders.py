"""Encoders of text (BERT, RoBERTa) and of pictures (ViT, DeiT, CLIP's), which see all tokens at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pennyweight.cost.configs.keys import Facts, Family, Keys


_MLM = ("MaskedLM", "PreTraining")


def bert(keys: Keys) -> Facts:
    """BERT and RoBERTa: as masked-language models with their head, otherwise ending in hidden states and a pooler."""
    masked = keys.named(*_MLM)
    return _encoder(keys) | {
        "vocab": keys.number("vocab_size"),
        "max_context": keys.number("max_position_embeddings"),
        "positions": keys.number("max_position_embeddings"),
        "token_types": keys.number("type_vocab_size", 2),
        "tied": True,
        "logits": masked,
        "end_bias": masked,
        "end_norms": 2 if masked else 1,
        "pooler": True,
    }


def vit(keys: Keys) -> Facts:
    """ViT and DeiT: as classifiers with their head, otherwise with a pooler where the class has one."""
    classifier = keys.named("ForImageClassification")
    heads = 2 if keys.named("WithTeacher") else 1
    labels = len(keys.get("id2label", {})) or keys.number("num_labels", 2)
    extra = 2 if keys.get("model_type") == "deit" else 1
    return _pictures(keys, extra) | {
        "end_bias": True,
        "head": labels * heads if classifier else 0,
        "pooler": not classifier and not keys.named("MaskedImage"),
    }


def clip_vision(keys: Keys) -> Facts:
    """CLIP's vision encoder: norms before and after the layers, a projection where the class has one."""
    projected = keys.named("WithProjection")
    return _pictures(keys, 1) | {
        "end_norms": 2,
        "head": keys.number("projection_dim", 512) if projected else 0,
    }


def _pictures(keys: Keys, class_tokens: int) -> Facts:
    patch = keys.number("patch_size")
    tokens = (keys.number("image_size") // max(patch, 1)) ** 2 + class_tokens
    return _encoder(keys) | {
        "vocab": 0,
        "logits": False,
        "patch_values": keys.number("num_channels", 3) * patch**2,
        "class_tokens": class_tokens,
        "positions": tokens,
        "max_context": tokens,
        "bias": True,
    }


def _encoder(keys: Keys) -> Facts:
    return {
        "layers": keys.number("num_hidden_layers"),
        "hidden": keys.number("hidden_size"),
        "heads": keys.number("num_attention_heads"),
        "ffn": keys.number("intermediate_size"),
        "gated": False,
        "causal": False,
        "bias": True,
    }


FAMILIES: dict[str, Family] = {
    **dict.fromkeys(("bert", "roberta", "xlm-roberta", "camembert", "megatron-bert"), bert),
    **dict.fromkeys(("vit", "deit"), vit),
    "clip_vision_model": clip_vision,
}
