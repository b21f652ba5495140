"""What no row of any table can say: counts below zero, degrees that its devices contradict, words nobody knows."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.rows import NoNumberError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

_DEGREES = ("tp", "pp", "dp", "cp")
_DEVICES = ("devices", "n_gpus")
_BATCHES = ("micro_batch", "global_batch", "gbs", "global_batch_size", "batch_size", "max_num_seqs", "concurrency")
_LENGTHS = ("isl", "osl", "prompt_tokens", "output_tokens", "sequence", "seq_len")
_SPREAD = ("ep", "vp", "tp_size", "pp_size", "attention_dp_size", "moe_tp_size", "moe_ep_size", "num_gpus", "n_accel")
_SIZES = ("nodes", "layers", "hidden", "heads", "ffn", "vocab", "power_limit")
_MEGATRON = (
    "num_layers",
    "hidden_size",
    "num_attention_heads",
    "num_query_groups",
    "ffn_hidden_size",
    "kv_channels",
    "vocab_size",
    "seq_length",
    "micro_batch_size",
    "num_experts",
    "moe_router_topk",
    "moe_ffn_hidden_size",
    "mtp_num_layers",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "context_parallel_size",
    "expert_model_parallel_size",
    "expert_tensor_parallel_size",
    "num_layers_per_virtual_pipeline_stage",
    "num_virtual_stages_per_pipeline_rank",
)
_COUNTS = _DEGREES + _DEVICES + _SPREAD + _BATCHES + _LENGTHS + _SIZES + _MEGATRON
_YES_OR_NO = r"(yes|no|true|false|[01](\.0)?)$"
_FLAGS = (
    "act_ckpt",
    "sequence_parallel",
    "dist_optimizer",
    "fp16",
    "deterministic_mode",
    "swiglu",
    "untie_embeddings_and_output_weights",
    "group_query_attention",
    "multi_latent_attention",
    "use_distributed_optimizer",
    "use_megatron_fsdp",
    "disable_bias_linear",
)
# What columns of words begin with, capitals or not; anything else counts as nothing, and that is said.
_WORDS = dict.fromkeys(_FLAGS, _YES_OR_NO) | {
    "recompute": rf"full|selective|{_YES_OR_NO}",
    "recompute_granularity": "full|selective",
    "sharding": "(full|no)_shard|shard_grad|hybrid",
    "attention_backend": "auto|flash|fused|unfused|local",
    "precision": r".*(bf|fp|tf|int|float)\d",
    "release": r"\d+\.\d+",
    "size": r"[\d.]+\s*[kmbt]",
}
_NOTHING = "(none|n/?a|nan|null|-)?$"


def impossible(rows: Rows) -> NDArray[np.str_]:
    """What (n,) cannot be; nothing where all can."""
    notes = np.full(len(rows), "", dtype=object)
    for name in _COUNTS:
        if name in rows.columns:
            found = _numbers(rows, name)
            wrong = (found < 0) | np.isinf(found)
            notes[wrong] = [f"{name} is {value:g}: no count is" for value in found[wrong]]
    return notes.astype(np.str_)


def contradicted(rows: Rows) -> NDArray[np.str_]:
    """Where (n,) tensor, pipeline, data and context parallelism are another number of devices than stated."""
    said = np.full(len(rows), "", dtype=object)
    devices = next((name for name in _DEVICES if name in rows.columns), None)
    if devices is None or not {"tp", "pp", "dp"} <= rows.columns.keys():
        return said.astype(np.str_)
    degrees = [name for name in _DEGREES if name in rows.columns]  # a blank contradicts nothing
    found = np.prod([_numbers(rows, name) for name in degrees], axis=0)
    stated = _numbers(rows, devices)
    for at in np.flatnonzero(np.isfinite(found) & np.isfinite(stated) & (found != stated)):
        said[at] = f"{devices} is {stated[at]:g}, but {' · '.join(degrees)} is {found[at]:g}"
    return said.astype(np.str_)


def unread(rows: Rows) -> NDArray[np.str_]:
    """What (n,) words in columns of few words are none of them, and so count as nothing."""
    said = np.full(len(rows), "", dtype=object)
    for name, known in _WORDS.items():
        if name not in rows.columns:
            continue
        texts, which = np.unique(rows.text(name), return_inverse=True)
        good = [re.match(f"{known}|{_NOTHING}", text, re.IGNORECASE) for text in texts.tolist()]
        if not all(good):
            told = [f"{name} is {text[:40]!r}, which says nothing known" for text in texts.tolist()]
            notes = np.array(["" if fine else note for fine, note in zip(good, told, strict=True)], dtype=object)[which]
            said = np.where(said.astype(np.bool_) & notes.astype(np.bool_), said + "; " + notes, said + notes)
    return said.astype(np.str_)


def _numbers(rows: Rows, name: str) -> NDArray[np.float64]:
    """A column of numbers (n,), NaN where it has none."""
    try:
        return rows.number(name)
    except NoNumberError:
        return rows.blanked(name).number(name)
