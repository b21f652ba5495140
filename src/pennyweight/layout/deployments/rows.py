"""Deployments that are asked about, as rows of the table of measured ones."""

from __future__ import annotations

from dataclasses import fields
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from pennyweight.catalog.models import model as named
from pennyweight.errors import UnknownNameError
from pennyweight.layout.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.core.dims import Dims
    from pennyweight.layout.serving.fleet import Serving


def rows_of(cases: Sequence[Serving]) -> Rows:
    """Deployments (n,) in the columns of the table of measured ones, what they draft ahead said."""
    apart = any(case.prefill is not None for case in cases)
    told = [_row(case) | (_apart(case) if apart else {}) for case in cases]
    columns = {name: np.array([str(row[name]) for row in told], dtype=np.str_) for name in told[0]}
    return Rows(columns, np.arange(len(cases), dtype=np.int64))


def _row(case: Serving) -> dict[str, object]:
    pool = case.decode
    return {
        **_dims(case.model),
        "model_path": case.model.name,
        "system": case.accelerator.name,
        "backend": case.engine,
        "precision": case.gemm,
        "gemm_quant_mode": case.gemm,
        "moe_quant_mode": case.gemm,
        "tp_size": pool.tp,
        "attention_dp_size": pool.attention_dp,
        "moe_ep_size": pool.expert_parallel,
        "concurrency": f"{case.concurrency:g}",
        "batch_size": f"{case.concurrency / pool.attention_dp:g}",
        "isl": f"{case.prompt:g}",
        "osl": f"{case.output:g}",
        "drafts": f"{case.drafts:g}",
        "prefix_hit": f"{case.prefix_hit:g}",
    }


def _apart(case: Serving) -> dict[str, object]:
    """What rows say of the two pools of a disaggregated deployment; nothing of one that has a single pool."""
    pools = {"decode": case.decode, "prefill": case.prefill or case.decode}
    columns: dict[str, object] = {
        f"{side}_{name}": value
        for side, pool in pools.items()
        for name, value in (
            ("tp_size", pool.tp),
            ("pp_size", pool.pp),
            ("attention_dp_size", pool.attention_dp),
            ("moe_ep_size", pool.expert_parallel),
            ("num_workers", pool.workers),
        )
    }
    columns["decode_batch_size"] = f"{case.concurrency / case.decode.attention_dp / case.decode.workers:g}"
    mode = {"mode": "agg" if case.prefill is None else "disagg"}
    return {**mode, **(dict.fromkeys(columns, "") if case.prefill is None else columns)}


@cache
def _dims(model: Dims) -> dict[str, object]:
    """The dimensions of a model that is not in the catalog; nothing of one that is."""
    try:
        known = named(model.name) == model
    except UnknownNameError:
        known = False
    return {} if known else {each.name: getattr(model, each.name) for each in fields(model) if each.name != "name"}
