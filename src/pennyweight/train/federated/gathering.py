"""One round's updates: each looked at by the server, or only their sum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.errors import CorruptError
from pennyweight.train.federated.frames import Message
from pennyweight.train.federated.masks import from_grid, unmasked
from pennyweight.train.federated.sharing import KEY_BYTE
from pennyweight.train.federated.weights import Told, codec, unpacked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from pennyweight.train.federated.circle import Circle
    from pennyweight.train.federated.planned import Planned

    Keys = dict[int, tuple[bytes, bytes]]

_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Call:
    """Round `number`: the clients `asked`, the `weights` (N,) they begin with, and what they have been told before."""

    number: int
    asked: Sequence[int]
    weights: NDArray[np.float64]
    told: Told


@dataclass(frozen=True, slots=True)
class Gathered:
    """The sum (N,) of updates times weights, the sum of the weights, how many clients counted, their mean loss."""

    total: NDArray[np.float64]
    weight: float = 0.0
    counted: int = 0
    loss: float | None = None


def gather_openly(circle: Circle, plan: Planned, call: Call) -> Gathered:
    """Each client's update in the open; what is no number or of another length is said and left out."""
    answers = circle.ask(_trainings(plan, call, call.asked), plan.spec.deadline_s, "update")
    call.told.heard(answers)
    total, weight, losses = np.zeros(len(call.weights)), 0.0, []
    for client, answer in answers.items():
        update = _update(answer, plan, len(total))
        if update is None:
            circle.said.append(f"Client {client} gave an update that is no number or does not fit; it was left out.")
            continue
        share = plan.weight(client)
        total += share * _clipped(update.astype(np.float64), plan)
        weight += share
        losses.append((share, answer.number("loss")))
    known = [(share, each) for share, each in losses if each is not None]
    loss = (
        sum(share * each for share, each in known) / sum(share for share, _ in known)
        if known and plan.budget is None
        else None
    )
    return Gathered(total, weight, len(losses), loss)


def _update(answer: Message, plan: Planned, count: int) -> NDArray[np.float32] | None:
    """The update (N,) that a client has sent; None if it is none."""
    update, code = answer.arrays.get("update", np.zeros(0)), codec(plan.spec.compress)
    if code is not None and update.ndim == 1 and update.dtype == np.uint8:
        try:
            update = unpacked(code, update, count)
        except CorruptError:
            return None
    fits = update.shape == (count,) and update.dtype == np.float32 and bool(np.isfinite(update).all())
    return update if fits else None


def gather_secretly(circle: Circle, plan: Planned, call: Call) -> Gathered:
    """Only the sum: keys, shares, masked updates, and the masks of all taken away again."""
    nothing, deadline_s = Gathered(np.zeros(len(call.weights))), plan.spec.deadline_s
    keys = _keys(circle.ask(dict.fromkeys(call.asked, Message("keys")), deadline_s, "keys"))
    least = plan.least(len(call.asked))
    if len(keys) < max(least, 3):
        return nothing
    notes = _notes(circle.ask(_key_lists(keys, least), deadline_s, "shares"), keys)
    trainings = _trainings(plan, call, sorted(notes))
    for client, message in trainings.items():
        message.arrays.update({str(other): theirs[client] for other, theirs in notes.items() if other != client})
    answers = circle.ask(trainings, deadline_s, "update")
    masked = {client: answer.arrays.get("update", np.zeros(0)) for client, answer in answers.items()}
    form = ((len(call.weights) + 1,), np.dtype(np.uint32))
    alive = sorted(each for each, update in masked.items() if (update.shape, update.dtype) == form)
    if len(alive) < least:
        return nothing
    gone = sorted(set(notes) - set(alive))
    asked = Message("unmask", {"alive": alive, "gone": gone})
    told = {
        teller: {each: share.tobytes() for each, share in _numbered(answer).items()}
        for teller, answer in circle.ask(dict.fromkeys(alive, asked), deadline_s, "unmask").items()
    }
    if len(told) < least:
        return nothing
    try:
        bare = unmasked(_sum([masked[each] for each in alive]), told, {each: keys[each] for each in notes}, alive)
    except CorruptError as error:
        circle.said.append(error.problem)
        return nothing
    plainly = from_grid(bare, len(call.asked))
    return Gathered(plainly[:-1], float(plainly[-1]), len(alive))


def _sum(masked: Sequence[NDArray[np.uint32]]) -> NDArray[np.uint32]:
    """The sum modulo 2³²."""
    total = np.zeros_like(masked[0])
    for each in masked:
        total += each
    return total


def _trainings(plan: Planned, call: Call, clients: Sequence[int]) -> dict[int, Message]:
    news = {each: call.told.news(each, plan.told(call.number, each, len(call.asked))) for each in clients}
    arrays = call.told.arrays(call.weights, clients)
    return {each: Message("train", news[each], arrays[each]) for each in clients}


def _clipped(update: NDArray[np.float64], plan: Planned) -> NDArray[np.float64]:
    """Shortened again, for a client may say that it has done it."""
    if not plan.hides_clients or plan.budget is None:
        return update
    return update * min(1.0, plan.budget.privacy.clip / max(1e-12, float(np.linalg.norm(update))))


def _keys(answers: Mapping[int, Message]) -> Keys:
    found = {
        client: tuple(answer.arrays.get(name, np.zeros(0, np.uint8)).tobytes() for name in ("talk", "mask"))
        for client, answer in answers.items()
    }
    return {client: (talk, pair) for client, (talk, pair) in found.items() if len(talk) == len(pair) == KEY_BYTE}


def _key_lists(keys: Keys, least: int) -> dict[int, Message]:
    arrays: dict[str, Any] = {}
    for client, (talk, pair) in keys.items():
        arrays |= {f"talk.{client}": np.frombuffer(talk, np.uint8), f"mask.{client}": np.frombuffer(pair, np.uint8)}
    return dict.fromkeys(keys, Message("shares", {"clients": sorted(keys), "least": least}, arrays))


def _notes(answers: Mapping[int, Message], keys: Keys) -> dict[int, dict[int, NDArray[np.uint8]]]:
    """What each client that gave a note for every other one has sealed for them."""
    found = {client: _numbered(answer) for client, answer in answers.items()}
    return {client: theirs for client, theirs in found.items() if set(theirs) == set(keys) - {client}}


def _numbered(answer: Message) -> dict[int, NDArray[Any]]:
    """The arrays that are for or about a client, by its number; a stranger may have named others anything."""
    return {int(name): array for name, array in answer.arrays.items() if name.isdecimal() and len(name) < _DIGITS}
