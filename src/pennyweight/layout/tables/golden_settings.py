"""Arguments of Megatron-LM's functional tests as settings: how each row trains, and what its libraries hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pennyweight.layout.memory.training import Setting
from pennyweight.layout.tables.golden_arguments import family_of, given, said

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pennyweight.layout.rows import Rows

    Column = NDArray[np.float64]

# T5 reads 512 tokens and writes 128: the mean over as many plain layers as it has parameters, how much longer the rows
# of its scores are, and the share of tokens that are scored against the vocabulary.
_T5_TOKENS = (292, 1.73, 128 / 292)
_HOPPER = ("dgx_h100", "dgx_gb200")
_BLOCK_MIB = 2**20
_RELEASE_DEVICES, _RELEASE_EXPERT_DEVICES, _NODE = 256, 64, 8


def setting_of(rows: Rows) -> Setting:
    """The settings (n,) of each row. Where no column counts the devices it is the number its kind of test has."""
    tp, pp, cp = (rows.number(f"{name}_parallel_size", 1) for name in ("tensor_model", "pipeline_model", "context"))
    half, recompute = rows.true("fp16"), rows.text("recompute_granularity")
    sharded = rows.text("data_parallel_sharding_strategy") == "optim_grads_params"
    instances = 1 + said(rows, "multi_dist_optimizer_instances")
    scores, share = scores_of(rows) * 1.0, np.ones(len(rows))
    seq, paired = rows.number("seq_length", 1024), family_of(rows) == "t5"
    seq, scores, share = (
        np.where(paired, here, there) for here, there in zip(_T5_TOKENS, (seq, scores, share), strict=True)
    )
    return Setting(
        seq=seq,
        micro_batch=rows.number("micro_batch_size", 4),
        tp=tp,
        pp=pp,
        dp=np.maximum(devices_of(rows) / (tp * pp * cp), 1) / instances,
        cp=cp,
        ep=rows.number("expert_model_parallel_size", 1),
        etp=_expert_degrees(rows, tp),
        chunks=_chunks(rows, pp),
        zero=np.where(sharded, 3, rows.true("use_distributed_optimizer") * 1),
        sequence_parallel=rows.true("sequence_parallel") * 1,
        scores=scores,
        dropout=(rows.text("normalization") != "RMSNorm") * 1,
        selective=(recompute == "selective") & ~given(rows, "recompute_modules"),
        full=(recompute == "full") * 1,
        weight_byte=2,
        gradient_byte=np.where(half, 2, 4),
        state_byte=np.where(half, 16, 12),
        product_byte=np.where(given(rows, "fp8_format"), 1, 2),
        logit_share=share,
    )


def _expert_degrees(rows: Rows, tp: Column) -> Column:
    """Tensor parallelism (n,) of experts: as of everything else, if not said."""
    found = np.where(rows.number("num_experts", 0) > 0, rows.number("expert_tensor_parallel_size"), 1)
    return np.where(np.isnan(found), tp, found)


def devices_of(rows: Rows) -> Column:
    """How many devices (n,) ran each row."""
    released = rows.text("test_type") == "release"
    many = np.where(rows.number("num_experts", 0) > 0, _RELEASE_EXPERT_DEVICES, _RELEASE_DEVICES)
    counted = rows.number("n_gpus")
    return np.where(np.isnan(counted), np.where(released, many, _NODE), counted)


def scores_of(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) keep attention's square of scores.

    Without Transformer Engine all do. Where the backend is left open a deterministic run of the older environment had
    no fused kernel; its newer files are told by their name or by how many steps they logged.
    """
    backend, golden = rows.text("attention_backend"), rows.text("golden")
    open_, steps = ~given(rows, "attention_backend"), rows.number("n_steps_logged", 0)
    older = rows.text("env") == "lts"
    past = older & ((np.char.find(golden, "dracooci") >= 0) | ((steps == 21) & (golden == "lts_dgx_a100")))
    unfused = np.isin(backend, ("unfused", "local")) | (rows.text("transformer_impl") == "local")
    return np.asarray(unfused | (open_ & past & rows.true("deterministic_mode")))


def hopper_of(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) ran on Hopper or Blackwell; the name of the file says it where no column does."""
    golden = rows.text("golden")
    return np.isin(rows.text("platform"), _HOPPER) | (np.char.find(golden, "h100") >= 0)


def workspace_of(rows: Rows) -> Column:
    """Bytes (n,) held by product libraries.

    cuBLAS keeps a workspace for the forward and the backward thread: 32 MiB where `CUBLAS_WORKSPACE_CONFIG` asks for
    it (deterministic runs) and on Hopper, 8.125 MiB on A100. Transformer Engine keeps one of 32 MiB on Hopper and of
    4 MiB before, and four more for grouped products; without it cuBLASLt has two of its own.
    """
    hopper = hopper_of(rows)
    engine = rows.text("transformer_impl") != "local"
    one = np.where(rows.true("deterministic_mode") | hopper, 32, 8.125) * _BLOCK_MIB
    own = np.where(hopper, 32, 4) * _BLOCK_MIB
    grouped = (rows.number("num_experts", 0) > 0) & engine & _grouped(rows)
    return np.asarray(2 * one + np.where(engine, own * (1 + 4 * grouped), 2 * one))


def _grouped(rows: Rows) -> NDArray[np.bool_]:
    """Which rows (n,) multiply all experts at once; no column says so."""
    named = said(rows, "groupedGEMM") | said(rows, "ddp_average") | said(rows, "etp1_ep4") | said(rows, "muon")
    return named | (rows.number("moe_router_topk", 0) > 1)


def _chunks(rows: Rows, pp: Column) -> Column:
    """Virtual stages (n,) per device."""
    per_stage = rows.number("num_layers_per_virtual_pipeline_stage")
    given = rows.number("num_virtual_stages_per_pipeline_rank")
    counted = rows.number("num_layers", 12) / pp / np.where(np.isnan(per_stage), 1, per_stage)
    found = np.where(np.isnan(given), np.where(np.isnan(per_stage), 1, counted), given)
    return np.maximum(found, 1)
