"""Folders of safetensors in Hugging Face's layout: read by parts, written shard by shard, nothing half as if whole."""

from pennyweight.store.checkpoints.folder import Checkpoint
from pennyweight.store.checkpoints.tensors import SIZES, Tensor
from pennyweight.store.checkpoints.writing import Entry, Outline, Shard

__all__ = ["SIZES", "Checkpoint", "Entry", "Outline", "Shard", "Tensor"]
