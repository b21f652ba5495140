"""Which model a row of serving names: one of the catalog, whatever its name says of precision, or one it gives."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from typing import Any

from pennyweight.catalog.models import model
from pennyweight.core.dims import Dims
from pennyweight.errors import UnknownNameError

_ENDINGS = r"-(fp8|nvfp4|fp4|bf16|int4|awq|gptq|w4a16|static|pertensor|instruct|thinking|it|hf|v\d|\d{4})$"
# Columns under which a row may give dimensions of a model that is in no catalog, as tables of models call them.
_GIVEN = {
    "n_experts": "experts",
    "q_lora_rank": "q_rank",
    "kv_lora_rank": "kv_rank",
    "qk_rope": "rope_dim",
    "qk_nope": "nope_dim",
    "v_head_dim": "v_dim",
    "first_dense": "dense_layers",
    "tie_embeddings": "tied",
    "max_pos": "max_context",
}


def dims_of(row: dict[str, str]) -> Dims:
    """The model of a row: by its name, without what ending says of precision, or by dimensions the row gives."""
    path = row["model_path"]
    if row.get("layers") and row.get("hidden"):
        return _given(path, tuple(sorted(row.items())))
    return _named(path)


@cache
def _named(path: str) -> Dims:
    """The model of the catalog; endings are taken off one by one, and Llama may be called Meta-Llama."""
    tried = path
    while True:
        for name in (tried, tried.rpartition("/")[2], f"meta-{tried.rpartition('/')[2]}"):
            try:
                return model(name)
            except UnknownNameError:
                continue
        shorter = re.sub(_ENDINGS, "", tried, flags=re.IGNORECASE)
        if shorter == tried:
            return model(path)
        tried = shorter


@cache
def _given(path: str, row: tuple[tuple[str, str], ...]) -> Dims:
    kinds = {each.name: each.type for each in fields(Dims)}
    said: dict[str, Any] = {}
    for name, text in row:
        field = _GIVEN.get(name, name)
        if field in kinds and field != "name" and text:
            number = float(text) if text.lower() not in {"true", "false"} else float(text.lower() == "true")
            said[field] = bool(number) if kinds[field] == "bool" else int(number)
    facts = dict(row)
    if facts.get("n_shared_experts") and not said.get("shared_ffn"):
        said["shared_ffn"] = int(float(facts["n_shared_experts"])) * int(said.get("moe_ffn", said.get("ffn", 0)))
    return Dims(name=path, **{"ffn": 0, "vocab": 0, **said})


def family_of(path: str) -> str:
    """Models of equal dimensions are one: R1 is V3 trained further."""
    name = path.rpartition("/")[2].lower()
    if re.match(r"deepseek-(r1|v3)(?!\.2)", name):
        return "deepseek-v3"
    while re.search(_ENDINGS, name):
        name = re.sub(_ENDINGS, "", name)
    return name
