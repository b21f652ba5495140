"""A tenant: holds its own rows, trains what it is sent on them, and gives back updates, never rows."""

from __future__ import annotations

import copy
import math
import secrets
import time
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.core import Regular, Task, TrainSpec
from pennyweight.errors import BadInputError, CorruptError, PennyweightError
from pennyweight.train.federated.frames import Channel, GoneError, Message
from pennyweight.train.federated.masks import Line, Masker, to_grid
from pennyweight.train.federated.weights import Packer, codec, fill, flat, unpacked
from pennyweight.train.how import How
from pennyweight.train.loop import fit

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import nn


@final
@dataclass
class Tenant:
    """One tenant: its `number`, a `model` of the shape that is trained, its own rows `data` (x, y) and their task."""

    number: int
    model: nn.Module
    data: Any
    task: Task = Task.CLASSIFY
    seed: int = 0
    masker: Masker | None = field(default=None, init=False)
    line: Line | None = field(default=None, init=False)
    facts: dict[str, Any] = field(default_factory=dict, init=False)
    start: Any = field(default=None, init=False)
    packer: Packer | None = field(default=None, init=False)

    def serve(self, channel: Channel) -> None:
        """Answer the server until it says that it is over, or is gone."""
        try:
            while (message := channel.receive()).kind != "end":
                channel.send(self.answer(message))
        except GoneError:
            pass
        finally:
            channel.close()

    def answer(self, message: Message) -> Message:
        """The answer to one message; what goes wrong here is said in a sentence and stays here."""
        answers = {"hello": self._hello, "keys": self._keys, "shares": self._shares, "train": self._train}
        answers["unmask"] = self._unmask
        try:
            found = answers[message.kind](message)
        except KeyError as error:
            found = Message("failed", {"why": f"It was asked for {error}, which it does not know."})
        except PennyweightError as error:
            found = Message("failed", {"why": error.problem})
        except (RuntimeError, ValueError, TypeError, MemoryError) as error:
            found = Message("failed", {"why": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"})
        return replace(found, facts={**found.facts, "cpu_s": time.process_time()})

    def _hello(self, _message: Message) -> Message:
        return Message("hello", {"rows": len(self.data.y), "numbers": len(flat(self.model))})

    def _keys(self, _message: Message) -> Message:
        self.line = self.line or Line()
        self.masker = Masker(self.number, self.line)
        talk, pair = self.masker.keys()
        return Message("keys", {}, {"talk": _bytes(talk), "mask": _bytes(pair)})

    def _shares(self, message: Message) -> Message:
        keys = {
            int(each): (message.arrays[f"talk.{each}"].tobytes(), message.arrays[f"mask.{each}"].tobytes())
            for each in message.facts["clients"]
        }
        least = int(message.facts["least"])
        if least <= len(keys) // 2:
            raise CorruptError("The server wants to join secrets from too few shares.", "do not trust this server.")
        notes = self._masks().shares(keys, least)
        return Message("shares", {}, {str(other): _bytes(note) for other, note in notes.items()})

    def _unmask(self, message: Message) -> Message:
        told = self._masks().told(message.facts["alive"], message.facts["gone"])
        return Message("unmask", {}, {str(each): _bytes(share) for each, share in told.items()})

    def _masks(self) -> Masker:
        if self.masker is None:
            raise BadInputError("There are no masks in this round.", "ask for keys first.")
        return self.masker

    def _train(self, message: Message) -> Message:
        """Train on the own rows from the weights that came; the update, clipped, noisy, packed or masked as asked."""
        self.facts |= message.facts
        self._begin(message)
        facts = self.facts
        update, loss = self._update(facts)
        if not np.isfinite(update).all():
            raise BadInputError("Its update is no number.", "look at its data.")
        if self.packer is not None:
            update = self.packer.whole(update)
        if facts.get("clip"):
            update *= min(1.0, facts["clip"] / max(1e-12, float(np.linalg.norm(update))))
        if facts.get("noise"):
            generator = np.random.default_rng(secrets.randbits(128))  # noise that can be repeated hides nothing
            update += generator.normal(0.0, facts["noise"], len(update))
        if facts.get("masked"):
            return self._hidden(update, message)
        sent = update.astype(np.float32) if self.packer is None else self.packer.packed(update)
        return Message("update", {"loss": loss}, {"update": sent})

    def _begin(self, message: Message) -> None:
        """Take the weights that came, or the move from those that came before."""
        code = codec(self.facts.get("compress", ""))
        if "move" not in message.arrays:
            self.start = message.arrays["weights"].copy()
        elif code is None or self.start is None:
            raise CorruptError("The server tells a move from weights it has not told.", "look at the server.")
        else:
            self.start += unpacked(code, message.arrays["move"], len(self.start))
        if code is not None and self.packer is None:
            self.packer = Packer(code)

    def _hidden(self, update: NDArray[np.float64], message: Message) -> Message:
        """The update behind masks, and its weight behind others."""
        weight = float(self.facts["weight"])
        notes = {int(each): note.tobytes() for each, note in message.arrays.items() if each.isdecimal()}
        grid = to_grid(np.append(update * weight, weight), int(self.facts["clients"]))
        return Message("update", {}, {"update": self._masks().masked(grid, notes)})

    def _update(self, facts: dict[str, Any]) -> tuple[NDArray[np.float64], float]:
        """How far the own rows move the weights, and the loss on them."""
        settings = settings_of(facts["local"])
        model = copy.deepcopy(self.model)
        fill(model, self.start)
        seed = (self.seed * 1_000_003 + self.number) * 10_007 + int(facts["round"])
        if facts.get("example_noise"):
            from pennyweight.train.federated.privacy import train_privately

            model, loss = train_privately(model, self.data, settings, (self.task, facts))
        else:
            settings = replace(settings, batch=even(len(self.data.y), settings.batch))
            pull = _pull(model, settings.lr * float(facts.get("mu", 0.0)))
            done = fit(model, self.data, settings, how=How(seed=seed % 2**31, task=self.task, after_step=pull))
            model, loss = done.model, done.history[-1]
        return flat(model).astype(np.float64) - self.start, loss


def _pull(model: nn.Module, strength: float) -> Any:
    """After every step, the exact step of FedProx's term μ/2 ‖w - w_server‖², whose strength is rate times μ."""
    if not strength:
        return None
    import torch

    anchors = [each.detach().clone() for each in model.parameters()]

    def pull(trained: nn.Module) -> None:
        with torch.no_grad():
            torch._foreach_lerp_(list(trained.parameters()), anchors, strength / (1 + strength))

    return pull


def plain(settings: TrainSpec) -> dict[str, Any]:
    """The settings as they are told to tenants; how a team divides the work is none of their business."""
    return {name: value for name, value in asdict(settings).items() if name != "team"}


def settings_of(told: dict[str, Any]) -> TrainSpec:
    """The settings again."""
    more = {"regular": Regular(**told["regular"]), "learns": tuple(told["learns"])}
    return TrainSpec(**{**told, **more})


def even(rows: int, batch: int) -> int:
    """A batch of about that size of which all are: a last one of few rows would move the weights as far as the rest."""
    return math.ceil(rows / math.ceil(rows / batch))


def _bytes(text: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(text, np.uint8)
