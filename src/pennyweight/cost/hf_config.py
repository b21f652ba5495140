"""From a Hugging Face config.json, or a name in the catalog, to the dimensions of the model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pennyweight.catalog.models import model
from pennyweight.catalog.reading import text_of
from pennyweight.core.dims import Dims
from pennyweight.cost.configs.families import FAMILIES
from pennyweight.cost.configs.keys import Keys
from pennyweight.errors import BadInputError, UnknownNameError

_NESTED = ("text_config", "llm_config", "language_config")
_NOT_COUNTED = ("t5", "mt5", "bart", "whisper", "mamba", "mamba2", "jamba", "rwkv", "clip", "siglip", "gemma3n")


def dims_of(text: str) -> Dims:
    """The model called `text` in the catalog, or described by the config.json at (or in) the path `text`."""
    path = Path(text)
    if path.exists() or path.suffix == ".json" or text.startswith((".", "/", "~")):
        return from_config(path.expanduser())
    try:
        return model(text)
    except UnknownNameError as error:
        raise UnknownNameError(error.problem, f"{error.fix[:-1]}; or a folder with a config.json.") from error


def from_config(source: Path | str | Mapping[str, Any]) -> Dims:
    """The dimensions that a config.json (its path, the folder that holds it, or what it says) describes.

    Of a model of several kinds of input, those of its language model. Raises `BadInputError` for a file that is none,
    a key that is missing or no number, and what is not counted.
    """
    if isinstance(source, Mapping):
        return _dims(dict(source), str(source.get("_name_or_path") or source.get("model_type") or "the model"))
    path = Path(source)
    file = path / "config.json" if path.is_dir() else path
    return _dims(_read(file), file.resolve().parent.name if file.name == "config.json" else file.stem)


def _read(file: Path) -> dict[str, Any]:
    try:
        body = json.loads(text_of(file))
    except (json.JSONDecodeError, RecursionError) as error:
        raise BadInputError(f"{file} is not JSON: {error}.", "download it again, or correct that line.") from error
    if not isinstance(body, dict):
        raise BadInputError(f"{file} does not hold one object.", "give the config.json of a model.")
    return body


def _dims(body: dict[str, Any], name: str) -> Dims:
    nested = next((body[key] for key in _NESTED if isinstance(body.get(key), Mapping)), None)
    outer = body
    if nested is not None:
        shared: dict[str, Any] = {key: body[key] for key in ("tie_word_embeddings", "architectures") if key in body}
        body = {"model_type": body.get("model_type"), **shared, **nested}
    kind = body.get("model_type")
    if kind not in FAMILIES and nested is not None and outer.get("model_type") in FAMILIES:
        kind = outer["model_type"]
    if body.get("is_encoder_decoder") or kind not in FAMILIES:
        raise _unknown(kind, name)
    try:
        facts = FAMILIES[str(kind)](Keys(name, body, {}))
    except (AttributeError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise BadInputError(
            f"The config of {name} has something of a form that no {kind} has: {error}.",
            "compare it with the config.json of the model's own repository.",
        ) from error
    return Dims(name=name, **facts)


def _unknown(kind: Any, name: str) -> BadInputError:
    if kind is None:
        return BadInputError(f"The config of {name} has no model_type.", "add model_type, such as llama.")
    if kind in _NOT_COUNTED or not isinstance(kind, str):
        return BadInputError(
            f"{name} is of the type {kind!r}, whose layers are not counted.",
            "give a decoder, an encoder or a vision transformer (of several, its own part of the config).",
        )
    near = get_close_matches(kind, FAMILIES, n=3, cutoff=0.5) or ["llama", "gpt2", "bert"]
    return BadInputError(
        f"{name} is of the type {kind!r}, which is not known.",
        f"if its layers are those of another, write that as model_type: {', '.join(near)}.",
    )
