"""Opening a checkpoint: what it is, from its heads alone; then its weights, every one of them, or not at all.

transformers fills weights that a folder lacks with random numbers and says so in a log; here that is an error.
"""

from __future__ import annotations

import io
import os
from contextlib import contextmanager, redirect_stderr
from typing import TYPE_CHECKING, Any, NoReturn

from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.runtimes.hf.folder import AGAIN, Description, describe, first_line

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from pathlib import Path

    from torch.nn import Module

DTYPES = ("float32", "bfloat16", "float16")
_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
_CLASSES = {
    "generate": "AutoModelForCausalLM",
    "fill": "AutoModelForMaskedLM",
    "classify": "AutoModelForSequenceClassification",
    "embed": "AutoModel",
}
_HARMLESS = ("inv_freq", "masked_bias", "position_ids", "attn.bias", "attention.bias")  # buffers of older versions


def open_model(folder: Path, dtype: str = "float32") -> Module:
    """The model of a folder, in evaluation mode on the processor, its weights in `dtype`.

    Its class follows from the config: one with a head of the vocabulary, of labels, or none. Only safetensors are
    read, only from `folder`, and code that lies in it is never run. Raises `BadInputError` for an unknown
    architecture, a config that disagrees with the weights, or weights that are missing or too many, `CorruptError`
    for files that are cut short, `MissingExtraError` without transformers.
    """
    if dtype not in DTYPES:
        raise BadInputError(f"Weights are not opened as {dtype!r}.", f"give one of {', '.join(DTYPES)}.")
    description = describe(folder)
    with _transformers() as library:
        if description.family not in library.CONFIG_MAPPING:
            _refuse_unknown(description)
        opened, found = _opened(description, library, dtype)
        _check_keys(folder, found)
        _unpack(opened)
    model: Module = opened.eval()
    return model.requires_grad_(requires_grad=False)


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder, as transformers has it; raises `BadInputError` if there is none that can be read."""
    if not any((folder / name).is_file() for name in _TOKENIZERS):
        raise BadInputError(f"{folder} has no tokenizer.", "download tokenizer.json beside the weights.")
    with _transformers() as library:
        try:
            return library.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:
            raise BadInputError(
                f"The tokenizer of {folder} cannot be read: {first_line(error)}.", "download tokenizer.json again."
            ) from error


@contextmanager
def _transformers() -> Generator[Any]:
    """The library, silent: what it would log is checked here, and bars of its own would cross ours."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # it warns of every fork otherwise
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError.of("transformers", "llm") from error
    log: Any = transformers.utils.logging
    before, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity(log.CRITICAL)
    log.disable_progress_bar()
    try:
        with redirect_stderr(io.StringIO()):  # bars of readers of packed weights
            yield transformers
    finally:
        log.set_verbosity(before)
        if bars:
            log.enable_progress_bar()


def _opened(description: Description, library: Any, dtype: str) -> tuple[Any, Mapping[str, Any]]:
    import torch

    kind = getattr(library, _CLASSES[description.task])
    try:
        opened, found = kind.from_pretrained(
            description.folder,
            dtype=getattr(torch, dtype),
            local_files_only=True,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except ImportError as error:
        raise BadInputError(
            f"{description.folder} needs a library that is not here: {first_line(error)}.", "install it."
        ) from error
    except (OSError, MemoryError):
        raise
    except Exception as error:
        why = "sizes differ" if "mismatched" in str(error) else first_line(error)
        raise BadInputError(
            f"config.json of {description.folder} and its weights do not fit together: {why}.", AGAIN
        ) from error
    return opened, found


def _unpack(model: Any) -> None:
    """Turn packed weights of compressed-tensors into numbers now, not on the first use; roundings of inputs stay."""
    if not hasattr(model, "ct_decompress_hook"):
        return
    from compressed_tensors.compressors import decompress_module

    for module in model.modules():
        scheme = getattr(module, "quantization_scheme", None)
        if scheme is None:
            continue
        rounds = getattr(scheme, "input_activations", None) or getattr(scheme, "output_activations", None)
        decompress_module(module, leave_decompressed=rounds is not None)
        module.to(model.dtype)  # some kinds become bfloat16 whatever was asked for; buffers elsewhere stay exact
    model.ct_decompress_hook.remove()


def _check_keys(folder: Path, found: Mapping[str, Any]) -> None:
    """Refuse what the library would have made up or left out."""
    lost = sorted(str(key) for key in found["missing_keys"])
    if lost:
        _refuse_keys(folder, "lacks", lost)
    more = sorted(key for key in map(str, found["unexpected_keys"]) if not key.endswith(_HARMLESS))
    if more:
        _refuse_keys(folder, "has, against its config.json,", more)
    odd = sorted(str(key) for key in found["mismatched_keys"])
    if odd:
        _refuse_keys(folder, "has in another shape", odd)


def _refuse_keys(folder: Path, verb: str, keys: list[str]) -> NoReturn:
    number = "1 weight" if len(keys) == 1 else f"{len(keys)} weights"
    raise BadInputError(f"{folder} {verb} {number}, such as {keys[0]!r}.", AGAIN)


def _refuse_unknown(description: Description) -> NoReturn:
    raise BadInputError(
        f"The architecture {description.family!r} of {description.folder} is not known to transformers, and code of a "
        "checkpoint is never executed.",
        "update transformers, or give a model whose architecture it has.",
    )
