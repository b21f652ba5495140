"""What workers that train together send each other, on paper: bytes for each way to agree and to pack, and the wait."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.core import Cost

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.catalog import Device
    from pennyweight.core import TeamSpec, TrainSpec

_BITS = {"": 32.0, "fp16": 16.0, "bf16": 16.0, "int8": 8.0, "int4": 4.0, "int2": 2.0, "onebit": 1.0}
_RINGS = frozenset({"", "fp16", "bf16"})  # these are added up on the way, others are packed
_SCALED = frozenset({"int8", "int4", "int2", "onebit"})
_SCALE_BITS = 16 / 512  # one bfloat16 for every 512 numbers
_FLOAT_BYTE, _DOUBLE_BYTE, _HEAD_BYTE, _DIGEST_BYTE, _SEED_BYTE = 4, 8, 4, 8, 8


@dataclass(frozen=True, slots=True)
class Tensors:
    """`times` equal matrices of `rows` by `wide` numbers that learn, each with `beside` numbers that do (a bias).

    `statistics` are numbers that are not learned but averaged with the weights where whole rounds are.
    """

    rows: int
    wide: float
    beside: float = 0.0
    statistics: float = 0.0
    times: int = 1


def sent_byte(train: TrainSpec, rows: int, model: Sequence[Tensors]) -> float:
    """Bytes that all workers together send while training `model` on `rows` rows; 0 for one that is alone.

    A ring all-reduce of B bytes sends 2(n - 1) · B in all (Patarasuk and Yuan, 2009), packed vectors the same of what
    they are packed to, each with the lengths of what is sent. Before the first step the weights are compared, after
    every step (round) all agree to go on, and after every pass the loss is averaged. Through a server each gradient
    goes there and the weights come back. Weights in shards are gathered for every mini-batch, those of repeated layers
    twice, for what is held back, and in the end.
    """
    team, numbers = train.team, sum(each.times * (each.rows * each.wide + each.beside) for each in model)
    if team.workers < 2:
        return 0.0
    way, every = _way(team)
    if way == "async":
        return 2 * _FLOAT_BYTE * numbers * train.epochs * rows / train.batch
    ring, pairs = 2 * (team.workers - 1), team.workers * (team.workers - 1)
    steps, updates = _steps(train, rows)
    agreed = ring * (steps if way in {"each", "shard"} else updates // every)
    beside = pairs * (_HEAD_BYTE + _DIGEST_BYTE) + agreed + ring * _DOUBLE_BYTE * math.ceil(train.epochs)
    packed, messages = packed_byte(team.compress, model)
    trades = messages * (1 if team.workers == 2 else 2)
    meeting = ring * packed + trades * pairs * _HEAD_BYTE
    if way == "shard":
        return beside + ring + _in_shards(train, steps, numbers, model)
    if way in {"local", "diloco"}:
        meeting += ring * _FLOAT_BYTE * sum(each.times * each.statistics for each in model)
    return beside + math.ceil(updates / every) * meeting


def _in_shards(train: TrainSpec, steps: int, numbers: float, model: Sequence[Tensors]) -> float:
    """What gathering weights and scattering gradients sends, without what shards of unequal size are padded with."""
    again = sum(each.times * (each.rows * each.wide + each.beside) for each in model if each.times > 1)
    looks = 1 + (0 if train.patience is None else math.ceil(train.epochs))
    return (train.team.workers - 1) * _FLOAT_BYTE * (steps * (2 * numbers + again) + looks * numbers)


def packed_byte(compress: str, model: Sequence[Tensors]) -> tuple[float, int]:
    """The bytes that the numbers of `model` take as `compress` packs them, and the vectors they are packed as.

    Float32 and sixteen bits are vectors of no lengths of their own. A Rice code of gaps with the mean 1/s takes
    ``b + 1 + q / (1 - q)`` bits, ``q = (1 - s)^(2^b)``. What deflating saves is not known before: nothing.
    """
    first, _, rest = compress.removesuffix("+zip").partition("+")
    name, _, number = first.partition(":")
    numbers = sum(each.times * (each.rows * each.wide + each.beside) for each in model)
    if name == "powersgd":
        return _low_rank(float(number), rest, model)
    if name in {"topk", "randomk"}:
        kept, places = float(number), _place_bits(float(number)) if name == "topk" else 0.0
        seed = _SEED_BYTE if name == "randomk" else 0
        return kept * numbers * (places + _number_bits(rest or "bf16")) / 8 + seed, 1
    return numbers * _number_bits(first) / 8, 0 if first in _RINGS else 1


def waiting(byte: float, team: TeamSpec, device: Device) -> Cost:
    """What all workers spend waiting for `byte` bytes in all to pass, all links at once; each holds its core."""
    wait_s = byte / (team.workers * team.link_byte_s)
    return Cost(team.workers * wait_s, wait_s, team.workers * device.joule(0.0, wait_s))


def _low_rank(rank: float, rest: str, model: Sequence[Tensors]) -> tuple[float, int]:
    """Columns and rows of what gets smaller that way, all else whole: three vectors."""
    columns = rows = whole = 0.0
    for each in model:
        low = rank <= min(each.rows, each.wide) and rank * (each.rows + each.wide) < each.rows * each.wide
        columns += each.times * rank * each.rows * low
        rows += each.times * rank * each.wide * low
        whole += each.times * (each.beside + (not low) * each.rows * each.wide)
    vectors = sum(each > 0 for each in (columns, rows, whole))
    return (columns + rows + whole) * _number_bits(rest) / 8, 0 if rest in _RINGS else vectors


def _number_bits(name: str) -> float:
    return _BITS[name] + (_SCALE_BITS if name in _SCALED else 0.0)


def _place_bits(share: float) -> float:
    low = max(0, round(math.log2(max(1.0, math.log(2) / share))))
    over = math.pow(1 - share, 2**low)
    return low + 1 + over / (1 - over)


def _way(team: TeamSpec) -> tuple[str, int]:
    name, _, steps = team.sync.partition(":")
    return name, int(steps) if steps and name != "async" else 1


def _steps(train: TrainSpec, rows: int) -> tuple[int, int]:
    """The mini-batches of one worker, and how often its weights change."""
    each = max(1, math.ceil(rows // train.team.workers / train.batch))
    steps = max(1, round(train.epochs * each))
    whole, rest = divmod(steps, each)
    return steps, whole * math.ceil(each / train.accumulate) + math.ceil(rest / train.accumulate)
