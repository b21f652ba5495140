"""The server's side of its tenants: asked together, given up when they are silent, dead or talk nonsense."""

from __future__ import annotations

import multiprocessing
import selectors
import socket
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, final

import numpy as np

from pennyweight.core import TrainSpec
from pennyweight.errors import BadInputError
from pennyweight.train.federated.cutting import part
from pennyweight.train.federated.frames import Channel, GoneError, Message
from pennyweight.train.federated.tenant import Tenant, plain
from pennyweight.train.federated.weights import flat

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from torch import nn

    from pennyweight.core import Task

_END_S = 5.0
_MOST_SAID = 300  # characters of a client's excuse


@dataclass(frozen=True, slots=True)
class Spent:
    """Bytes that were sent to and came from tenants, and CPU seconds of theirs."""

    sent_byte: int = 0
    got_byte: int = 0
    cpu_s: float = 0.0

    def __sub__(self, other: Spent) -> Spent:
        return Spent(self.sent_byte - other.sent_byte, self.got_byte - other.got_byte, self.cpu_s - other.cpu_s)


@final
@dataclass
class Circle:
    """The tenants by number, each behind a channel; `processes` are those that were started here."""

    channels: dict[int, Channel]
    processes: dict[int, Any] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    cpu_s: dict[int, float] = field(default_factory=dict)
    closed: list[Channel] = field(default_factory=list)

    def ask(self, messages: Mapping[int, Message], deadline_s: float, kind: str = "hello") -> dict[int, Message]:
        """Send each tenant its message; the answers that came in time. The others are said to have failed.

        A tenant whose channel ends, that is silent until the deadline or sends what is no message is left out from
        then on; one that answers that it failed may be asked again.
        """
        end = time.monotonic() + deadline_s
        waiting = selectors.DefaultSelector()
        for number, message in messages.items():
            if number in self.channels:
                self._send(number, message, deadline_s, waiting)
        found: dict[int, Message] = {}
        while waiting.get_map():
            ready = waiting.select(max(0.0, end - time.monotonic()))
            for key, _ in ready:
                self._hear(key.data, waiting, found)
            if not ready:
                for key in list(waiting.get_map().values()):
                    waiting.unregister(key.fileobj)
                    self.drop(key.data, f"it gave no answer ({kind}) in {deadline_s:g} seconds")
        waiting.close()
        return self._good(found, kind)

    def end(self) -> None:
        """Tell all that it is over, and see that their processes end."""
        for channel in self.channels.values():
            try:
                channel.send(Message("end"), 1.0)
            except GoneError:
                continue
            finally:
                channel.close()
        for each in self.processes.values():
            each.join(_END_S)
            if each.is_alive():
                each.kill()
                each.join()

    @property
    def spent(self) -> Spent:
        """What went over the wire so far, and what the tenants say it took them."""
        ends = (*self.channels.values(), *self.closed)
        sent, got = sum(each.sent_byte for each in ends), sum(each.got_byte for each in ends)
        return Spent(sent, got, sum(self.cpu_s.values()))

    def _send(self, number: int, message: Message, deadline_s: float, waiting: Any) -> None:
        try:
            self.channels[number].send(message, deadline_s)
        except GoneError as error:
            self.drop(number, str(error))
        else:
            waiting.register(self.channels[number].link, selectors.EVENT_READ, number)

    def _hear(self, number: int, waiting: Any, found: dict[int, Message]) -> None:
        channel = self.channels[number]
        try:
            message = channel.poll()
        except GoneError as error:
            waiting.unregister(channel.link)
            self.drop(number, str(error))
            return
        if message is not None:
            waiting.unregister(channel.link)
            found[number] = message

    def _good(self, found: dict[int, Message], kind: str) -> dict[int, Message]:
        for number, message in found.items():
            self.cpu_s[number] = max(self.cpu_s.get(number, 0.0), message.number("cpu_s") or 0.0)
            if message.kind == "failed":
                why = str(message.facts.get("why", "it does not say why"))[:_MOST_SAID]
                self.said.append(f"Client {number} failed: {why}")
            elif message.kind != kind:
                self.drop(number, "it answers what it was not asked")
        return {number: message for number, message in sorted(found.items()) if message.kind == kind}

    def drop(self, number: int, why: str) -> None:
        """Leave a client out from now on, and say so."""
        self.said.append(f"Client {number} is lost: {why}; the others go on.")
        channel = self.channels.pop(number)
        self.closed.append(channel)
        channel.close()


@contextmanager
def gathered(model: nn.Module, parts: Sequence[Any], task: Task, seed: int) -> Generator[Circle]:
    """A tenant for each of `parts` (x, y), in a process of its own, for the block.

    Processes are forked, as those of PyTorch's data loaders are, and talk over pairs of sockets that nobody else can
    reach. It is a try-out on one machine: the process that forks has had all the rows.
    """
    if "fork" not in multiprocessing.get_all_start_methods():
        raise BadInputError("This system cannot fork processes.", "run it on Linux, or let tenants join by `attend`.")
    _warm_up(Tenant(0, model, part(parts[0], np.arange(2)), task))
    circle, pairs = Circle({}), [socket.socketpair() for _ in parts]
    try:
        for number, each in enumerate(parts):
            circle.processes[number] = _started(Tenant(number, model, each, task, seed), pairs)
        for number, (ours, theirs) in enumerate(pairs):
            theirs.close()
            circle.channels[number] = Channel(ours)
        yield circle
    finally:
        circle.end()
        for pair in pairs:
            for end in pair:
                end.close()


def _warm_up(tenant: Tenant) -> None:
    """Train once here, so that what a first training loads is not loaded anew in every process."""
    facts = {"local": plain(TrainSpec(batch=2, optimizer="sgd")), "round": 0}
    tenant.answer(Message("train", facts, {"weights": flat(tenant.model)}))


def _started(tenant: Tenant, pairs: Sequence[tuple[socket.socket, socket.socket]]) -> Any:
    def live() -> None:
        import torch

        torch.set_num_threads(1)
        for number, (ours, theirs) in enumerate(pairs):
            ours.close()
            if number != tenant.number:
                theirs.close()
        tenant.serve(Channel(pairs[tenant.number][1]))

    process = multiprocessing.get_context("fork").Process(target=live, daemon=True)
    with warnings.catch_warnings():  # the child uses none of the threads that a library may have started here
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process
