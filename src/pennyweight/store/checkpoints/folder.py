"""A folder in Hugging Face's layout, looked at whole before anything is read: index, shards, config, other files.

Only safetensors and text are ever opened: nothing of the folder is executed or unpickled.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, final

from pennyweight.errors import BadInputError, CorruptError
from pennyweight.store.checkpoints.tensors import Tensor, tensors_in
from pennyweight.store.disk import explained, read

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

CONFIG, INDEX, SINGLE = "config.json", "model.safetensors.index.json", "model.safetensors"
_OURS = (CONFIG, INDEX, "shrunk.json", "unfinished.json")  # written anew
_MOST_TEXT_BYTE = 200_000_000
_BESIDE = (".json", ".txt", ".model", ".jinja", ".tiktoken", ".md")
_LICENCES = ("LICENSE", "LICENCE", "NOTICE", "USE_POLICY")
_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@final
@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a folder holds: what config.json says, every tensor by name, shard after shard, and small files beside."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    beside: tuple[Path, ...]

    @property
    def byte(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.byte for tensor in self.tensors.values())

    @property
    def shards(self) -> tuple[Path, ...]:
        """The files that hold tensors, in order."""
        return tuple(dict.fromkeys(tensor.file for tensor in self.tensors.values()))

    @classmethod
    def at(cls, folder: Path) -> Self:
        """Look at `folder`: heads of all shards are read, their tensors are not.

        Raises `BadInputError` for what is missing or contradictory, `CorruptError` for files that are cut short or
        lead out of the folder.
        """
        if not folder.is_dir():
            raise BadInputError(f"{folder} is no folder.", "give the folder of a checkpoint, with its config.json.")
        config = _json(folder, CONFIG, f"{folder} is no checkpoint: it has no {CONFIG}.")
        with explained(folder, "the checkpoint"):
            tensors = _indexed(folder) if (folder / INDEX).exists() else _single(folder)
            beside = tuple(sorted(path for path in folder.iterdir() if _is_beside(path)))
            for path in beside:
                _check_inside(folder, path)
        return cls(folder, config, tensors, beside)


def _json(folder: Path, name: str, missing: str) -> dict[str, Any]:
    path = folder / name
    if not path.exists():
        raise BadInputError(missing, "download the whole repository of the model.")
    _check_inside(folder, path)
    whole = path.resolve()
    with explained(path, "the description"):
        body = read(whole.parent, whole.name, _MOST_TEXT_BYTE)
    try:
        said = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"{path} is not JSON: {error}.", "download it again.") from error
    if not isinstance(said, dict):
        raise BadInputError(f"{path} does not hold one object.", "download it again.")
    return said


def _single(folder: Path) -> dict[str, Tensor]:
    path = folder / SINGLE
    if path.exists():
        _check_inside(folder, path)
        return tensors_in(path)
    if any(each.suffix in _PICKLED for each in folder.iterdir()):
        raise BadInputError(
            f"{folder} holds pickled weights only, and opening these would run what is in them.",
            "download the model's safetensors, or convert it on a machine you can lose.",
        )
    raise BadInputError(f"{folder} holds neither {SINGLE} nor {INDEX}.", "download the whole repository of the model.")


def _indexed(folder: Path) -> dict[str, Tensor]:
    index = folder / INDEX
    where = _json(folder, INDEX, "").get("weight_map")
    if not isinstance(where, dict) or not where or not all(isinstance(name, str) for name in where.values()):
        raise BadInputError(f"{index} has no weight_map from tensors to files.", "download it again.")
    tensors: dict[str, Tensor] = {}
    for name in sorted(set(where.values())):
        if name in {"", ".", ".."} or "/" in name or "\\" in name or "\0" in name:
            raise CorruptError(f"{index} names {name!r}, which is no file of this folder.", "download it again.")
        shard = folder / name
        if not shard.exists():
            raise BadInputError(f"The shard {name} is missing in {folder}.", "download the rest of the model.")
        _check_inside(folder, shard)
        tensors |= {key: found for key, found in tensors_in(shard).items() if where.get(key) == name}
    lost = [key for key in where if key not in tensors]
    if lost:
        raise BadInputError(
            f"{index} names {len(lost)} tensors that are not in their shards, such as {lost[0]!r}.",
            "download the model again: index and shards are of different versions.",
        )
    return tensors


def _is_beside(path: Path) -> bool:
    """Whether a file goes with the model: words, tokenizer, licence; not config and index, which are written anew."""
    if path.name in _OURS or path.name.startswith(".") or path.name.endswith(".index.json") or not path.is_file():
        return False
    return path.suffix in _BESIDE or path.name.upper().startswith(_LICENCES)


def _check_inside(folder: Path, path: Path) -> None:
    """Refuse links that lead out of the folder, or out of the download cache that it is a snapshot of."""
    root = folder.resolve()
    blobs = root.parent.parent / "blobs" if root.parent.name == "snapshots" else root
    target = path.resolve()
    if root not in target.parents and blobs not in target.parents:
        raise CorruptError(f"{path} is a link out of its folder, to {target}.", "put the real file there.")
