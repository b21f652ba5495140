"""What a launch file is written from: a model, its layout, the machines, and how it is trained or served."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError

if TYPE_CHECKING:
    from pennyweight.catalog.accelerators import Accelerator
    from pennyweight.catalog.offer import Offer
    from pennyweight.core.dims import Dims
    from pennyweight.core.layout import Layout

KINDS = ("train", "serve")
_SLUG = 40  # a machine's name is this, a dash and its number: at most 63 characters in Kubernetes


@dataclass(frozen=True, slots=True)
class Train:
    """How it is trained: `tokens` in all, in sequences of `sequence` tokens, `global_batch` of them a step.

    A checkpoint is written every `checkpoint_steps` steps.
    """

    tokens: float
    sequence: int
    global_batch: int
    checkpoint_steps: int = 1000

    def __post_init__(self) -> None:
        counts = {
            "sequence": self.sequence,
            "global_batch": self.global_batch,
            "checkpoint_steps": self.checkpoint_steps,
        }
        wrong = next((name for name, value in counts.items() if value < 1), None)
        if wrong:
            raise BadInputError(f"A run has {wrong} = {counts[wrong]}.", "give one or more.")
        if not (self.tokens > 0 and math.isfinite(self.tokens)):
            raise BadInputError(f"Nothing can be trained on {self.tokens:g} tokens.", "give a number such as 2e12.")

    @property
    def samples(self) -> int:
        """How many sequences it takes, the last one whole."""
        return math.ceil(self.tokens / self.sequence)


@dataclass(frozen=True, slots=True)
class Serve:
    """How it is served: at most so many `requests` at once per group, of at most `context` tokens.

    A replica has `attention_dp` groups of tp · pp devices; a layout's `dp` counts the groups of all replicas.
    `weights` is their precision where it is not the layout's, `cache` that of keys and values, `utilization` the share
    of a device's memory that the engine takes. `drafts` tokens are guessed ahead, by the model named `draft` or by the
    model's own layers for that.
    """

    requests: int = 256
    context: int = 8192
    attention_dp: int = 1
    weights: str = ""
    cache: str = "bf16"
    utilization: float = 0.9
    drafts: int = 0
    draft: str = ""
    prefix_cache: bool = True
    engine: str = "vllm"
    disaggregated: bool = False

    def __post_init__(self) -> None:
        counts = {"requests": self.requests, "context": self.context, "attention_dp": self.attention_dp}
        wrong = next((name for name, value in counts.items() if value < 1), None)
        if wrong:
            raise BadInputError(f"A server has {wrong} = {counts[wrong]}.", "give one or more.")
        if not 0 < self.utilization <= 1:
            raise BadInputError(
                f"An engine cannot take {self.utilization:g} of a device.", "give a share between 0 and 1, such as 0.9."
            )


@dataclass(frozen=True, slots=True)
class Launch:
    """One launch: `work` on devices of an accelerator, `node_devices` in a machine, of an offer or of one's own.

    `model` is what the weights are called on their hub, or their folder; by default the name in `dims`. `image` is the
    container to run in, where a target needs one. Where servers that only read prompts are a pool of their own,
    `reads` starts these and the rest is of those that answer. Raises `BadInputError` for what cannot be started as it
    is.
    """

    dims: Dims
    layout: Layout
    work: Train | Serve
    accelerator: Accelerator
    node_devices: int
    model: str = ""
    offer: Offer | None = None
    spare: bool = False
    image: str = ""
    reads: Launch | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", self.model or self.dims.name)
        draft = self.work.draft if isinstance(self.work, Serve) else ""
        for name in (self.model, self.image, draft):
            _check_name(name)
        self._check_split()
        self._check_machines()
        if isinstance(self.work, Serve) and self.layout.dp % self.work.attention_dp:
            raise BadInputError(
                f"{self.layout.dp} attention groups are no whole number of replicas of {self.work.attention_dp}.",
                "give a dp that is a multiple of attention_dp.",
            )

    @property
    def kind(self) -> str:
        """Whether it trains or serves: one of `KINDS`."""
        return "train" if isinstance(self.work, Train) else "serve"

    @property
    def train(self) -> Train:
        """How it is trained; raises `BadInputError` where it is served."""
        if isinstance(self.work, Train):
            return self.work
        raise BadInputError(
            "This plan serves a model.", "use a target that serves: vllm, slurm, kubernetes or skypilot."
        )

    @property
    def serve(self) -> Serve:
        """How it is served; raises `BadInputError` where it is trained."""
        if isinstance(self.work, Serve):
            return self.work
        raise BadInputError(
            "This plan trains a model.", "use a target that trains: torchrun, slurm, kubernetes or skypilot."
        )

    @property
    def group(self) -> int:
        """Devices that must be started together: of a replica that is served, or all that train."""
        layout = self.layout
        attention_dp = self.work.attention_dp if isinstance(self.work, Serve) else layout.dp * layout.cp
        return layout.tp * layout.pp * attention_dp

    @property
    def replicas(self) -> int:
        """How many groups there are: of a model that is served, its replicas; one of a model that is trained."""
        return self.layout.devices // self.group

    @property
    def group_machines(self) -> int:
        """On how many machines a group is."""
        return -(-self.group // self.node_devices)

    @property
    def machine_groups(self) -> int:
        """How many groups a machine holds; one where a group fills several machines."""
        return min(max(self.node_devices // self.group, 1), self.replicas)

    @property
    def machines(self) -> int:
        """How many machines there are in all."""
        return self.group_machines * -(-self.replicas // self.machine_groups)

    @property
    def machine_devices(self) -> int:
        """How many devices of a machine are used."""
        return self.group // self.group_machines

    @property
    def slug(self) -> str:
        """A name of small letters, digits and dashes for whatever needs one."""
        short = re.sub(r"[^a-z0-9]+", "-", self.model.rpartition("/")[2].lower()).strip("-")[:_SLUG].strip("-")
        return f"{self.kind}-{short}" if short else self.kind

    def _check_split(self) -> None:
        dims, tp = self.dims, self.layout.tp
        if dims.heads % tp or (dims.kv_heads % tp and tp % dims.kv_heads):
            raise BadInputError(
                f"{tp} devices cannot share the {dims.heads} heads of {dims.name} and its {dims.kv_heads} of keys.",
                "give a tensor parallelism (tp) that divides them.",
            )

    def _check_machines(self) -> None:
        if self.node_devices < 1:
            raise BadInputError(f"A machine has {self.node_devices} devices.", "give one or more.")
        if self.group > self.node_devices and self.group % self.node_devices:
            raise BadInputError(
                f"{self.group} devices do not fill machines of {self.node_devices}.",
                f"take a multiple of {self.node_devices} devices.",
            )


def _check_name(name: str) -> None:
    if name and (not name.isprintable() or name != name.strip()):
        raise BadInputError(f"A launch file cannot hold the name {name!r}.", "give one of printable characters.")
    if name.startswith("-"):
        raise BadInputError(f"The name {name!r} would be taken for an option.", "write ./ before it.")
