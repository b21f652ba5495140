"""Which model a row of serving names: one of the catalog, whatever its name says of precision, or one it gives."""

from __future__ import annotations

import re
from dataclasses import fields
from functools import cache
from typing import Any

from pennyweight.catalog.models import model
from pennyweight.core.dims import Dims
from pennyweight.cost.nearest_model import nearest_model
from pennyweight.errors import BadInputError, UnknownNameError

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


_KINDS = {each.name: str(each.type) for each in fields(Dims)}
DIMENSIONS = frozenset({*_KINDS, *_GIVEN, "n_shared_experts"})


def dims_of(row: dict[str, str]) -> tuple[Dims, str]:
    """The model of a row, and what stands in for it: by its name, whatever that says of precision, or as the row says.

    Raises `UnknownNameError` where the name says neither a family that is known nor a size.
    """
    path = row["model_path"]
    if row.get("layers") and row.get("hidden"):
        return _given(path, tuple(sorted((name, text) for name, text in row.items() if name in DIMENSIONS))), ""
    return _named(path)


@cache
def _named(path: str) -> tuple[Dims, str]:
    """The model of the catalog, endings taken off one by one, and Llama also as Meta-Llama; or one that stands in."""
    tried = path
    while True:
        for name in (tried, tried.rpartition("/")[2], f"meta-{tried.rpartition('/')[2]}"):
            try:
                return model(name), ""
            except UnknownNameError:
                continue
        shorter = re.sub(_ENDINGS, "", tried, flags=re.IGNORECASE)
        if shorter == tried:
            found = nearest_model(path)
            return found.dims, found.note
        tried = shorter


@cache
def _given(path: str, row: tuple[tuple[str, str], ...]) -> Dims:
    said: dict[str, Any] = {}
    for name, text in row:
        field = _GIVEN.get(name, name)
        if field in _KINDS and field != "name" and text:
            said[field] = _value(name, text, _KINDS[field])
    facts = dict(row)
    if facts.get("n_shared_experts") and not said.get("shared_ffn"):
        shared = _value("n_shared_experts", facts["n_shared_experts"], "int")
        said["shared_ffn"] = shared * int(said.get("moe_ffn", said.get("ffn", 0)))
    return Dims(name=path, **{"ffn": 0, "vocab": 0, **said})


def _value(name: str, text: str, kind: str) -> bool | int | float:
    """What a text says of a dimension, in its own type."""
    if text.lower() in {"true", "false"}:
        number = float(text.lower() == "true")
    else:
        try:
            number = float(text)
        except ValueError as error:
            raise BadInputError(f"{text!r} in column {name} is no number.", "correct it.") from error
    if kind == "bool":
        return bool(number)
    return int(number) if kind == "int" else number


def family_of(path: str) -> str:
    """Models of equal dimensions are one: R1 is V3 trained further."""
    name = path.rpartition("/")[2].lower()
    if re.match(r"deepseek-(r1|v3)(?!\.2)", name):
        return "deepseek-v3"
    while re.search(_ENDINGS, name):
        name = re.sub(_ENDINGS, "", name)
    return name
