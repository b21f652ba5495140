"""The recipe's character GPT with random weights, as the artifact that `pennyweight train` would have written."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pennyweight.backends.torch_cached import to_cached_onnx
from pennyweight.backends.torch_onnx import to_onnx
from pennyweight.core import Artifact
from pennyweight.engine.answers import open_session, with_probes

ALPHABET = "\n !$&',-.3:;?ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
CONTEXT = 256
WIDTH, HEADS = 384, 6


@cache
def recipe() -> Any:
    """The recipe as a module."""
    path = Path(__file__).resolve().parents[1] / "recipes" / "char_gpt.py"
    spec = importlib.util.spec_from_file_location("recipe_of_serve_text", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"There is no {path}.")
    found = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = found
    spec.loader.exec_module(found)
    return found


def artifact(layers: int) -> Artifact:
    """A network of so many blocks."""
    torch.manual_seed(0)
    model = recipe().CharGPT(recipe().Shape(len(ALPHABET), layers, HEADS, WIDTH, CONTEXT)).eval()
    x = np.random.default_rng(0).integers(0, len(ALPHABET), (4, CONTEXT))
    files = (("model.onnx", to_onnx(model, x[:2])), ("ragged.onnx", to_cached_onnx(model, ragged=True)))
    meta = {
        "alphabet": ALPHABET,
        "classes": len(ALPHABET),
        "input_dtype": "int64",
        "input_shape": [CONTEXT],
        "outputs": "logits",
        "serve": {"runtime": "onnxruntime", "batch": 1, "threads": 1, "precision": "float32"},
        "task": "language",
    }
    made = Artifact("onnx", files, tuple(sorted(meta.items())))
    return with_probes(made, open_session(made), x)
