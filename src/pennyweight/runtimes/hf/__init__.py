"""Checkpoints of Hugging Face's transformers, from a folder on this disk; none of its code is executed."""

from pennyweight.runtimes.hf.folder import Description, describe
from pennyweight.runtimes.hf.model import open_model, open_tokenizer

__all__ = ["Description", "describe", "open_model", "open_tokenizer"]
