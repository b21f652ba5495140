"""Pools that only read prompts, of every way to run a replica; and what it takes to send keys and values from one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

import numpy as np

from pennyweight.cost.transformer import kv_byte
from pennyweight.layout.deployments.choices import AT_ONCE
from pennyweight.layout.deployments.lines import reads
from pennyweight.layout.serving.fleet import fleet_of
from pennyweight.layout.serving.passes import heads_split
from pennyweight.layout.serving.pools import Readers, Wire

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from pennyweight.layout.deployments.choices import Choices
    from pennyweight.layout.deployments.lessons import Lessons

    Floats = NDArray[np.float64]
    Places = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Apart:
    """Pools (r,) that may read prompts for others, and which of them each way (n,) of `choices` is like (`kind`).

    `at` (r,) are their positions in `choices`: such a pool needs room for the fewest requests at once. `token_s`,
    `fixed_s`, `request_s`, `moving` and `token_ratio` (r,) are those of `lines.reads`; `token_byte` (r,) is what is
    sent of each token of a prompt, over `split` (r,) devices of an instance at `net_byte_s` (r,) each. Of instances
    with more devices than that, `groups` (r,) requests travel at once.
    """

    choices: Choices
    at: Places
    kind: Places
    token_s: Floats
    fixed_s: Floats
    request_s: Floats
    moving: Floats
    token_ratio: Floats
    token_byte: Floats
    split: Floats
    net_byte_s: Floats
    groups: Floats

    @classmethod
    def of(cls, choices: Choices, lessons: Lessons, net_byte_s: Mapping[str, float]) -> Self:
        """All ways of `choices` as pools that read; devices have so much network, by accelerator."""
        names = [(case.engine, case.accelerator.name, case.gemm, case.decode) for case in choices.serving]
        order = {name: at for at, name in enumerate(dict.fromkeys(names))}
        kind = np.array([order[name] for name in names], dtype=np.int64)
        at = np.unique(kind, return_index=True)[1].astype(np.int64)
        cases = [replace(choices.serving[each], concurrency=float(AT_ONCE[0])) for each in at.tolist()]
        cases = [replace(case, prefill=case.decode) for case in cases]
        fleet, timed = fleet_of(cases), reads(cases, lessons)
        split = heads_split(fleet)
        return cls(
            choices=choices,
            at=at,
            kind=kind,
            **timed,
            token_byte=kv_byte(fleet.model, fleet.prompt, fleet.kv_byte) / fleet.prompt,
            split=split,
            net_byte_s=np.array([net_byte_s[case.accelerator.name] for case in cases]),
            groups=np.maximum(choices.devices[at] // split, 1),
        )

    def writers(self) -> Choices:
        """The same ways (n,) where they only answer: iterations without prompts, and nothing before them."""
        c, ratio, none = self.choices, self.token_ratio[self.kind], np.zeros(len(self.choices))
        return replace(c, step_s=c.step_s * ratio, request_s=c.request_s * ratio, prompt_token_s=none, fixed_s=none)

    def readers(self, read: int, instances: int) -> Readers:
        """So many instances of one pool that reads."""
        return Readers(float(self.token_s[read]), float(self.fixed_s[read]), instances)

    def move_s(self, read: Places, write: Places) -> Floats:
        """Seconds per token of a prompt that its keys take from pools `read` (p,) to pools `write`, both of (r,).

        As many devices send as hold different keys, to as many as want them; the slower side counts.
        """
        rate = np.minimum(self.split[read] * self.net_byte_s[read], self.split[write] * self.net_byte_s[write])
        return np.asarray(self.token_byte[read] * self.moving[read] / rate)

    def wire(self, read: int, write: int, counts: tuple[int, int]) -> Wire:
        """The network from so many instances of `read` to so many of the kind `write`."""
        token_s = self.move_s(np.array([read]), np.array([write]))
        groups = float(self.groups[read]), float(self.groups[write])
        lanes = min(int(each * count) for each, count in zip(groups, counts, strict=True))
        return Wire(float(token_s[0]), float(self.request_s[read]), max(lanes, 1))
