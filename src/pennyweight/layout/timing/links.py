"""How long devices talk: collectives and point to point, inside a node and between nodes; over columns at once.

A collective of n ranks takes l + w + r·√(l·w): l for its steps, w for its bytes, and a geometric mean between, for
messages that are neither short nor long. The constants are rounded from fits on NCCL runs of 2 to 8 devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pennyweight.layout.timing.cases import Machines
    from pennyweight.layout.timing.columns import Column

RAMP = 1.2  # of the middle term: fits on NCCL runs of A100 to GB200 lie between 0.9 and 1.8
HOP = 0.12  # of the latency that one more rank adds: gathers 0.08 to 0.18, all-reduce up to 0.3


@dataclass(frozen=True, slots=True)
class Group:
    """Ranks that talk: how many, and how many of them share a node."""

    ranks: Column
    local: Column

    @classmethod
    def of(cls, ranks: Column, stride: Column, node: Column) -> Group:
        """A group of ranks that are `stride` devices apart, on nodes of `node` devices."""
        return cls(ranks, np.minimum(ranks, np.maximum(node / stride, 1.0)))

    @property
    def nodes(self) -> Column:
        """Over how many nodes they are spread."""
        return self.ranks / self.local


def all_reduce_s(byte: Column, group: Group, machine: Machines) -> Column:
    """Seconds until every rank has the sum of `byte` bytes: each sends and receives 2(n - 1)/n of them.

    Over nodes it goes up and down a tree: its steps grow with the logarithm of the nodes.
    """
    return _with_steps(2.0 * _ring_s(byte, group, machine), np.log2(group.nodes), group, machine)


def gather_s(byte: Column, group: Group, machine: Machines) -> Column:
    """Seconds of an all-gather to, or a reduce-scatter of, `byte` bytes in all: each rank moves (n - 1)/n of them.

    It goes round a ring: its steps grow with the nodes.
    """
    return _with_steps(_ring_s(byte, group, machine), group.nodes - 1.0, group, machine)


def dispatch_s(byte: Column, copies: Column, group: Group, machine: Machines) -> Column:
    """Seconds until each rank has sent its tokens, `byte` bytes in all, to `copies` experts spread over the group.

    A token crosses the network once for each other node that has an expert of its own and is copied there (DeepSeek-AI
    2024, arXiv 2412.19437, section 3.2.2): of N nodes, (N - 1)(1 - (1 - 1/N)^copies) on average.
    """
    nodes = group.nodes
    reached = (nodes - 1.0) * (1.0 - (1.0 - 1.0 / nodes) ** copies)
    outside = byte * reached / machine.net_byte_s
    inside = byte * copies * (group.local - 1.0) / group.local / machine.link_byte_s
    return _with_steps(np.maximum(outside, inside), np.log2(nodes), group, machine)


def send_s(byte: Column, beside: Column, machine: Machines) -> Column:
    """Seconds of one message to the next stage; `beside` is 1 where that is inside the node, else 0."""
    rate = beside * machine.link_byte_s + (1.0 - beside) * machine.net_byte_s
    return byte / rate + beside * machine.link_s + (1.0 - beside) * machine.net_s


def _ring_s(byte: Column, group: Group, machine: Machines) -> Column:
    """Seconds that (n - 1)/n of the bytes are on their way; a ring over nodes has a network card per rank in a node."""
    across = np.minimum(machine.link_byte_s, group.local * machine.net_byte_s)
    rate = np.where(group.ranks > group.local, across, machine.link_byte_s)
    return byte * (group.ranks - 1.0) / group.ranks / rate


def _with_steps(moving_s: Column, hops: Column, group: Group, machine: Machines) -> Column:
    steps_s = machine.link_s * (1.0 + HOP * (group.local - 1.0)) + machine.net_s * hops
    return (steps_s + moving_s + RAMP * np.sqrt(steps_s * moving_s)) * (group.ranks > 1.0)
