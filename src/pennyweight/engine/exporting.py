"""A trained model as a folder that transformers loads: config, weights, tokenizer; compared with it, or not there."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.engine.answers import probes, softmax
from pennyweight.errors import BadInputError, CorruptError, MissingExtraError
from pennyweight.store import disk

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor

    from pennyweight.core import Artifact

TOLERANCE = 1e-4
"""How far a probability may be from the one that was recorded when the artifact was made."""

CONFIG_FACT, TOKENIZER_FACT = "transformers", "tokenizer"
_CONFIG, _WEIGHTS, _TOKENIZER, _TOKENIZER_SAID = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
)
_DRAFT = ".draft-"
_AGAIN = "train it again with pennyweight train, and export that."


@final
@dataclass(frozen=True, slots=True)
class Exported:
    """What was written: the architecture, how many weights in how many bytes, and how it compares.

    `tokens` were read by both, and `drift` is the largest difference between the probabilities of what comes next.
    """

    family: str
    weights: int
    byte: int
    tokens: int
    drift: float

    def facts(self) -> dict[str, Any]:
        """All of it as plain values, for JSON."""
        return {name: getattr(self, name) for name in ("family", "weights", "byte", "tokens", "drift")}


def export(artifact: Artifact, folder: Path) -> Exported:
    """Write the model of `artifact` to `folder`, new or empty, in Hugging Face's layout and in float32.

    The artifact must be one in torch's format whose module said its `transformers_config()`. Before the folder appears,
    transformers reads it and answers the probes of the artifact. Raises `BadInputError` for an artifact that is not
    such a model or a folder that is not free, `CorruptError` if the answers differ by more than `TOLERANCE`,
    `MissingExtraError` without transformers.
    """
    config = _config(artifact)
    check_free(folder)
    tensors = _weights(artifact, config)
    with disk.explained(folder, "the model"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{folder.name}{_DRAFT}"
        disk.sweep(folder.parent, prefix)
        with disk.draft(folder.parent, prefix) as draft:
            files = _files(artifact, config, tensors)
            disk.write(draft, files)
            tokens, drift = _compared(artifact, draft)
            disk.land(draft, folder)
    weights = sum(each.numel() for each in tensors.values())
    return Exported(config["model_type"], weights, sum(map(len, files.values())), tokens, drift)


def check_free(folder: Path) -> None:
    """Raise `BadInputError` if there is something at `folder` already."""
    with disk.explained(folder, "the model"):
        if folder.is_symlink() or (folder.exists() and not (folder.is_dir() and not any(folder.iterdir()))):
            raise BadInputError(f"{folder} is there already.", "give another name, or remove it.")


def _config(artifact: Artifact) -> dict[str, Any]:
    config = artifact.facts.get(CONFIG_FACT)
    if not isinstance(config, dict) or not isinstance(config.get("model_type"), str):
        raise BadInputError(
            f"{artifact.facts.get('job', 'The model')} does not say what it is called in transformers.",
            "give its module a transformers_config(), as recipes/tiny_llama.py does, and train it again.",
        )
    if artifact.format != "torch":
        raise BadInputError(
            f"The artifact is in the format {artifact.format}, whose weights transformers does not know.", _AGAIN
        )
    return {**config, "dtype": "float32"}


def _weights(artifact: Artifact, config: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors that transformers has by these names; the others are constants, which it makes itself."""
    from pennyweight.runtimes.torch_graph import stored_tensors

    held, wanted = stored_tensors(artifact), _shapes(config)
    tied = {"lm_head.weight"} if config.get("tie_word_embeddings") else set()
    odd = [
        name
        for name, shape in wanted.items()
        if (name not in held and name not in tied) or (name in held and tuple(held[name].shape) != shape)
    ]
    if odd:
        raise BadInputError(
            f"{len(odd)} weights are not as config.json says, such as {odd[0]}: levers have changed the network.",
            _AGAIN,
        )
    return {name: held[name].float().contiguous() for name in sorted(wanted) if name in held}


def _shapes(config: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """The shape of every weight of such a model in transformers, by name; no memory is taken for them."""
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError as error:
        raise MissingExtraError.of("transformers", "llm") from error
    try:
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(AutoConfig.for_model(**config), trust_remote_code=False)
    except (ValueError, TypeError, KeyError, AttributeError, RuntimeError) as error:
        raise BadInputError(
            f"transformers makes no model of the module's config: {str(error).splitlines()[0]}.",
            "correct its transformers_config().",
        ) from error
    return {name: tuple(each.shape) for name, each in model.state_dict().items()}


def _files(artifact: Artifact, config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, bytes]:
    from safetensors.torch import save

    files = {_CONFIG: _text(config), _WEIGHTS: save(dict(tensors), {"format": "pt"})}
    tokenizer = artifact.facts.get(TOKENIZER_FACT)
    if isinstance(tokenizer, str) and tokenizer:
        files |= {_TOKENIZER: tokenizer.encode(), _TOKENIZER_SAID: _text(_said(artifact, config, tokenizer))}
    return files


def _said(artifact: Artifact, config: Mapping[str, Any], tokenizer: str) -> dict[str, Any]:
    from pennyweight.runtimes.hf.carried import carried_tokenizer

    inner = carried_tokenizer(tokenizer).inner
    words = {f"{role}_token": config.get(f"{role}_token_id") for role in ("bos", "eos", "pad")}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": artifact.facts["input_shape"][0],
        "clean_up_tokenization_spaces": False,
        **{name: inner.id_to_token(token) for name, token in words.items() if token is not None},
    }


def _text(said: Mapping[str, Any]) -> bytes:
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _compared(artifact: Artifact, folder: Path) -> tuple[int, float]:
    """How many tokens were read, and the largest difference of a probability."""
    import torch

    from pennyweight.runtimes.hf import open_model

    x, recorded = probes(artifact)
    model = open_model(folder)
    apart = []
    with torch.inference_mode():
        for row, wanted in zip(x, recorded, strict=True):
            found = softmax(model(torch.from_numpy(row[None])).logits[0].numpy())
            apart.append(np.abs(found - wanted).max())
    drift = float(np.max(apart))  # which is no number if one of them is none, unlike Python's own
    if not drift <= TOLERANCE:
        raise CorruptError(
            f"transformers answers otherwise than the model did (by {drift:.2g}).",
            "see that the module computes what its transformers_config() says.",
        )
    return x.size, drift
