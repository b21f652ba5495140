"""The state of a training as files: tensors in safetensors, the rest in JSON; nothing is executed to read one."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Any, final

from pennyweight.errors import BadInputError, CorruptError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor, nn

    from pennyweight.core import TrainSpec

Files = dict[str, bytes]
_TENSORS, _FACTS = NAMES = "state.safetensors", "state.json"
_VERSION = 2
_NO_MATTER = frozenset({"team.link_byte_s", "team.sent_byte"})  # these change nothing of what is trained
_AGAIN = "train anew, or go on with another run."


@final
@dataclass
class Checkpoints:
    """Where the state of one training is kept, and what was found there to go on from.

    `keep` writes files so that they are there whole or not at all; `found` are the files of an earlier state, None to
    begin anew. The state is kept at once, every `every_s` seconds, or after every `every` changes of the weights if
    that is not 0, and at the end. `of` names what is trained: the state of something else is refused.
    """

    keep: Callable[[Files], None]
    found: Mapping[str, bytes] | None = None
    every_s: float = 30.0
    every: int = 0
    of: str = ""
    _last_s: float = field(default=-math.inf, init=False)

    def due(self, updates: int) -> bool:
        """Whether the state is to be kept after so many changes of the weights."""
        if self.every:
            return updates % self.every == 0
        return time.perf_counter() - self._last_s >= self.every_s

    def write(self, state: dict[str, Any], identity: dict[str, Any]) -> None:
        """Keep a state."""
        self.keep(encode({"version": _VERSION, "identity": identity, "state": state}))
        self._last_s = time.perf_counter()

    def read(self, identity: dict[str, Any]) -> dict[str, Any] | None:
        """The state found, None if there is none; raises `BadInputError` if it is that of another training."""
        if self.found is None:
            return None
        body = decode(self.found)
        if body.get("version") != _VERSION:
            raise CorruptError("The kept state was written by another version of pennyweight.", _AGAIN)
        _same(body["identity"], identity)
        state: dict[str, Any] = body["state"]
        return state


def identity(model: nn.Module, settings: TrainSpec, **more: Any) -> dict[str, Any]:
    """What must be the same for a training to go on: the network's tensors, the settings, and `more`."""
    shapes = [(name, str(each.dtype), list(each.shape)) for name, each in model.state_dict().items()]
    network = sha256(json.dumps(shapes).encode()).hexdigest()
    told = {name: each for name, each in _flat(asdict(settings)).items() if name not in _NO_MATTER}
    return {"network": network, **told, **more}


def encode(state: Any) -> Files:
    """A tree of dictionaries, lists, tuples, numbers, text and tensors as two files."""
    from safetensors.torch import save

    tensors: dict[str, Tensor] = {}
    tree = _pack(state, tensors)
    return {_TENSORS: save(tensors), _FACTS: json.dumps(tree).encode()}


def decode(files: Mapping[str, bytes]) -> Any:
    """What `encode` was given, to the bit; raises `CorruptError` for anything else."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return _unpack(json.loads(files[_FACTS]), load(bytes(files[_TENSORS])))
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise CorruptError(f"The kept state of a training cannot be read: {error!r}.", _AGAIN) from error


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    import torch

    if isinstance(value, torch.Tensor):
        name = str(len(tensors))
        tensors[name] = value.detach().clone(memory_format=torch.contiguous_format)
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[_pack(key, tensors), _pack(each, tensors)] for key, each in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [_pack(each, tensors) for each in value]}
    if isinstance(value, list):
        return [_pack(each, tensors) for each in value]
    return value


def _unpack(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_unpack(each, tensors) for each in tree]
    if not isinstance(tree, dict):
        return tree
    ((kind, body),) = tree.items()
    if kind == "tensor":
        return tensors[body]
    if kind == "tuple":
        return tuple(_unpack(each, tensors) for each in body)
    return {_unpack(key, tensors): _unpack(each, tensors) for key, each in body}


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in values.items():
        found.update(_flat(value, f"{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value})
    return found


def _same(kept: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in now.items():
        before = kept.get(name)
        if before != value and not (_is_nan(before) and _is_nan(value)):
            told = f": {name.replace('_', ' ')} was {before}, now it is {value}" if name != "network" else ""
            what = "another network" if name == "network" else "another training"
            raise BadInputError(f"The kept state is that of {what}{told}.", f"use the same settings, or {_AGAIN}")


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)
