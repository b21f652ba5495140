"""One worker of bench.compress_gradients: it trains with the others until the loss is that of the control.

    python -m bench.gradient_worker ORDER

ORDER is a JSON object; the first worker writes what it reached to a file that it names.
"""

from __future__ import annotations

import json
import sys
import time
import warnings
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks, powerSGD_hook
from torch.nn.parallel import DistributedDataParallel

from pennyweight.core import Task, TeamSpec, TrainSpec
from pennyweight.data.splits import Arrays
from pennyweight.train.distributed.each import same_weights
from pennyweight.train.distributed.join import joined
from pennyweight.train.loop import How, Progress, fit
from pennyweight.train.objective import Batch, Objective
from pennyweight.train.team import Team
from recipes.char_gpt import CharGPT, Shape
from recipes.mnist_cnn import network, read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pennyweight.train.wire import Wire

LOOK = 16  # steps between two looks at the loss
MNIST_ROWS, GPT_ROWS = 4_000, 512  # that the loss is taken on
CONTEXT = 64


@dataclass(frozen=True)
class Contender:
    """How the workers agree, and whose code packs: `torch_rank` is that of PyTorch's PowerSGD hook."""

    sync: str = "each"
    compress: str = ""
    torch_rank: int = 0
    half: bool = False  # PyTorch's fp16 wrapper around it


@dataclass(frozen=True)
class Look:
    """What the first worker saw: the loss, and the steps, bytes, messages and CPU seconds of this worker until then."""

    loss: float
    steps: int
    byte: float
    messages: int
    cpu_s: float


@dataclass(frozen=True)
class Material:
    """A recipe: the network, what it learns from, what it is judged on, and how it is trained."""

    network: nn.Module
    train: Arrays
    held: Batch
    task: Task
    settings: TrainSpec


@dataclass
class Watch:
    """Looks at the loss every few steps, in the first worker, and stops all at the target."""

    wire: Wire
    material: Material
    target: float
    model: nn.Module | None = None
    looks: list[Look] = field(default_factory=list)
    aside_s: float = 0.0
    begin_s: float = field(default_factory=time.process_time)

    def see(self, model: nn.Module) -> None:
        """Remember the model that is trained."""
        self.model = model

    def look(self, progress: Progress) -> bool:
        """Take the loss if it is time; False at the target."""
        steps = progress.step
        if self.wire.rank or self.model is None or not (steps % LOOK == 0 or steps == progress.steps):
            return True
        start = time.process_time()
        loss = self.loss(self.model)
        self.aside_s += time.process_time() - start
        cpu_s = time.process_time() - self.begin_s - self.aside_s
        self.looks.append(Look(loss, steps, self.wire.sent_byte, self.wire.messages, cpu_s))
        return loss > self.target

    def loss(self, model: nn.Module) -> float:
        """The mean loss on the rows held back."""
        objective, held = Objective(self.material.task), self.material.held
        model.eval()
        with torch.no_grad():
            parts = torch.arange(len(held)).split(512)
            losses = [float(objective.hard(model(held.x[part]), held.y[part])) * len(part) for part in parts]
        model.train()
        return sum(losses) / len(held)


def main() -> None:
    order = json.loads(sys.argv[1])
    contender = Contender(**order["contender"])
    torch.manual_seed(order["seed"])
    with joined(TeamSpec(1, contender.sync, contender.compress)) as ours:
        wire, rank = ours.wire, contender.torch_rank
        team = Powered(wire, rank, contender.half) if rank else ours
        material = (_mnist if order["recipe"] == "mnist" else _gpt)(Path(order["data"]))
        watch = Watch(wire, material, order["target"])
        fit(material.network, material.train, _settings(material, order, team), how=_how(team, watch, order))
        if team.rank == 0:
            Path(order["told"]).write_text(json.dumps([asdict(each) for each in watch.looks]), encoding="utf-8")


def _settings(material: Material, order: Mapping[str, Any], team: Team) -> TrainSpec:
    batch = material.settings.batch
    # Half a step more, lest rounding takes one away.
    epochs = (order["steps"] + 0.5) / -(-len(material.train.y) // batch)
    return replace(material.settings, epochs=epochs, batch=batch // team.size)


def _how(team: Team, watch: Watch, order: Mapping[str, Any]) -> How:
    return How(seed=order["seed"], task=watch.material.task, watch=watch.look, after_step=watch.see, team=team)


def _mnist(data: Path) -> Material:
    splits = read(data / "vision")
    x, y = splits.select.x[:MNIST_ROWS], splits.select.y[:MNIST_ROWS]
    held = Batch(torch.from_numpy(x), torch.from_numpy(y))
    return Material(network(), splits.train, held, Task.CLASSIFY, TrainSpec(batch=128, optimizer="adam", lr=1e-3))


def _gpt(data: Path) -> Material:
    """The first eight tenths of the text to learn from; windows of the ninth to judge on; the last is not looked at."""
    text = (data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    alphabet, codes = np.unique(np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), return_inverse=True)
    n = (len(codes) - 1) // CONTEXT
    x = codes[: n * CONTEXT].astype(np.int64).reshape(n, CONTEXT)
    y = codes[1 : n * CONTEXT + 1].astype(np.int64).reshape(n, CONTEXT)
    held = 8 * n // 10 + np.arange(GPT_ROWS)
    train = Arrays(x[: 8 * n // 10], y[: 8 * n // 10])
    net = CharGPT(Shape(len(alphabet), layers=4, heads=4, width=128, context=CONTEXT))
    settings = TrainSpec(batch=12, optimizer="adamw", lr=1e-3, weight_decay=0.1)
    return Material(net, train, Batch(torch.from_numpy(x[held]), torch.from_numpy(y[held])), Task.LANGUAGE, settings)


class Counted:
    """`torch.distributed`, its all-reduce counted on a wire."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire

    def __getattr__(self, name: str) -> Any:
        return getattr(torch.distributed, name)

    def all_reduce(self, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        """PyTorch's, counted."""
        self.wire.count_reduce(x.numel() * x.element_size())
        return torch.distributed.all_reduce(x, *args, **kwargs)


BUCKET_MB = 1024  # all in one: of two, the hook's second messages leave in orders that differ between workers


@final
@dataclass(slots=True)
class Powered(Team):
    """Every step together like ours, but PyTorch's own hook answers: from the second step on, for what gets smaller."""

    rank_: int = 1
    half: bool = False

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model in DDP, made as ours is, with PowerSGD's hook."""
        counted = Counted(self.wire)
        powerSGD_hook.dist = counted
        default_hooks.dist = counted
        state = powerSGD_hook.PowerSGDState(
            None, matrix_approximation_rank=self.rank_, start_powerSGD_iter=2, min_compression_rate=1
        )
        plain = powerSGD_hook.powerSGD_hook
        hook = default_hooks.fp16_compress_wrapper(plain) if self.half else plain
        same_weights(model, self.wire)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "`broadcast_buffers` is deprecated", FutureWarning)
            wrapped = DistributedDataParallel(
                model,
                init_sync=False,
                broadcast_buffers=False,
                bucket_cap_mb=BUCKET_MB,
                gradient_as_bucket_view=True,
            )
        wrapped.register_comm_hook(state, hook)
        return wrapped


if __name__ == "__main__":
    main()
