"""Joules of one generated token of a language model that is served in batches: what they are made of, before any fit.

Energy adds up whatever hides behind what: every byte of weights and of keys and values that is read, every operation,
and the watts of all devices while they wait for launches, for each other and for the host. A step of decoding reads all
dense weights and of the experts those that its batch is sent to; the prompt of a request is computed once, and with
data-parallel attention every replica waits for it. Images and videos are prepared by the host, and where it feeds one
device alone, steps wait for that. Devices differ little in joules per byte of memory (400 W at
2 TB/s, 700 W at 3.35 TB/s: about 2e-10 J), and in joules per operation by power over peak rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pennyweight.cost.learn.sums import Part, Question

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.float64]

# Tokens of a typical prompt; what is wrong with them is fitted with a factor per kind of work.
PROMPTS = {
    "lm-arena-chat": 120,
    "gpqa": 250,
    "sourcegraph-fim": 900,
    "image-chat": 600,
    "video-chat": 1800,
}
_BYTE_J = 2e-10
_STEP_S = 1e-5  # of one layer or one sequence: launches, synchronisation, sampling
_REQUEST_S = 1e-2  # of preparing one image or video on the host
_ALIKE = 0.9  # tokens of a batch go to the same experts more often than by chance: as if fewer, to this power
_AT_ONCE = 32.0  # requests with images beyond which a host that feeds one device is busy with them in every step
_CROWD = 256.0  # sequences beyond which sampling and scheduling are done for many at once
_APART = 4.0  # one kind of device from another, beside sizes that differ by a factor of two
_NEW = 0.5
_GPU = {"blackwell": _NEW}
_KIND = {"moe": _NEW, "fp8": _NEW, "mxfp4": _NEW}
PARTS = (
    Part("weights", 0.0, 0.2, {}),
    Part("experts", 0.0, 0.3, {**_GPU, "fp8": _NEW, "mxfp4": _NEW, "unpacked": _NEW}),
    # kernels for eight bits in blocks compute experts to which no token was sent
    Part("idle_experts", -0.5, 0.7, {}),
    Part("kept", 0.0, 0.4, _GPU),
    Part("compute", 0.4, 0.2, {**_GPU, **_KIND}),
    Part("layers", 1.0, 0.8, {**_GPU, **_KIND, "several": _NEW}),
    Part("host", 1.0, 0.8, {**_GPU, "several": _NEW, "many": _NEW, "moe": _NEW, "crowd": _NEW}),
    Part("prompt", 0.2, 0.4, {**_GPU, "moe": _NEW, "fp8": _NEW}),
    Part("prompt_experts", 0.0, 0.5, {**_GPU, "moe": _NEW, "fp8": _NEW}),
    Part("prompt_layers", 0.5, 0.5, {**_GPU, "several": _NEW, "moe": _NEW, "fp8": _NEW}),
    Part("media", -1.5, 0.5, {"video": _NEW}),
    Part("media_steps", -1.0, 1.0, {"blackwell": 1.0}),
    Part("state", 0.7, 0.7, {}),
    Part("waiting", -2.0, 0.7, {}),
)


@dataclass(frozen=True, slots=True)
class Served:
    """What n services are: every field an array (n,).

    The model: `layers`, parameters in all and `active` per token (each a count), of these those in `experts` (routed
    experts, all of them) and the share `sent` of experts a token is sent to; bytes per parameter outside and inside
    experts; `kept_byte` that a step reads per sequence (keys and values), `state_byte` (of a recurrence); `latent` (1
    where attention is). The service: `devices`, data-parallel `replicas` of attention, `batch` sequences at once,
    `prompt` and `output` tokens, `task` (a name). The device: `busy_w`, `flop_s` at the peak of the precision,
    `blackwell` (1 where it computes in four bits), `precision` (a name).
    """

    layers: Numbers
    active: Numbers
    parameters: Numbers
    experts: Numbers
    sent: Numbers
    dense_byte: Numbers
    expert_byte: Numbers
    kept_byte: Numbers
    state_byte: Numbers
    latent: Numbers
    devices: Numbers
    replicas: Numbers
    batch: Numbers
    prompt: Numbers
    output: Numbers
    task: NDArray[np.str_]
    busy_w: Numbers
    flop_s: Numbers
    blackwell: Numbers
    precision: NDArray[np.str_]

    def take(self, chosen: NDArray[Any]) -> Served:
        """The services chosen by a mask or by positions."""
        return Served(**{name: getattr(self, name)[chosen] for name in self.__slots__})


def question(served: Served) -> Question:
    """The parts (n,) of the joules per generated token, before any factor, and what shifts factors."""
    s = served
    touched = np.where(s.experts > 0, 1 - (1 - s.sent) ** s.batch**_ALIKE, 0.0)
    dense_j = (s.parameters - s.experts) * s.dense_byte * s.replicas * _BYTE_J
    expert_j = s.experts * s.expert_byte * _BYTE_J
    compute_j = 2 * s.active * s.busy_w / s.flop_s
    waiting_j = s.devices * s.busy_w * _STEP_S
    media_j = s.devices * s.busy_w * _REQUEST_S
    like = _like(s)
    seen = np.maximum(like["image"], like["video"])
    parts = {
        "weights": dense_j / s.batch,
        "experts": expert_j * touched / s.batch,
        "idle_experts": expert_j * (1 - touched) / s.batch * like["fp8"] * (1 - s.latent),
        "kept": s.kept_byte * _BYTE_J,
        "compute": compute_j,
        "layers": waiting_j * s.layers / s.batch,
        "host": waiting_j,
        "prompt": compute_j * s.prompt / s.output * s.replicas,
        "prompt_experts": expert_j / s.output * s.replicas,
        "prompt_layers": waiting_j * s.layers / s.output * s.replicas,
        "media": media_j / s.output * seen,
        "media_steps": media_j / s.batch * seen * (1 - like["several"]) * (1 - np.exp(-s.batch / _AT_ONCE)),
        "state": s.state_byte * _BYTE_J,
        "waiting": (dense_j + expert_j * touched) / s.batch * np.log2(s.devices),
    }
    return Question(parts, like)


def features(served: Served) -> Numbers:
    """Rows (n, d) that residuals are learned on: logarithms of sizes, flags, tasks, and what is kept and prepared."""
    s = served
    kept = np.log2(s.kept_byte * s.batch / s.devices)
    return np.concatenate([_sizes(s), _flags(s), np.stack([kept, np.log2(s.batch / s.output)], axis=1)], axis=1)


def place(served: Served) -> Numbers:
    """Rows (n, d) of what makes services near to each other; devices are far apart."""
    watts = _APART * np.log2(served.busy_w)
    return np.concatenate([_sizes(served), _flags(served), _APART * served.blackwell[:, None], watts[:, None]], axis=1)


def _sizes(s: Served) -> Numbers:
    return np.stack([np.log2(each) for each in (s.batch, s.devices, s.active, s.parameters, s.output)], axis=1)


def _flags(s: Served) -> Numbers:
    like = _like(s)
    flags = [s.blackwell, s.latent, *(like[each] for each in ("fp8", "mxfp4", "moe", "recurrent", "replicas"))]
    return np.stack([*flags, *(np.asarray(s.task == each, dtype=np.float64) for each in PROMPTS)], axis=1)


def traits(served: Served) -> dict[str, NDArray[Any]]:
    """What services (n,) are, by name: task, kind of device and of model; and logarithms of sizes."""
    like = _like(served)
    marks = (("m", "moe"), ("r", "recurrent"), ("d", "replicas"))
    kind = served.precision.astype(object)
    for mark, name in marks:
        kind += np.where(like[name] > 0, mark, "").astype(object)
    sizes = {name: np.log2(getattr(served, name)) for name in ("batch", "devices", "active", "parameters", "output")}
    device = np.where(served.blackwell > 0, "blackwell", "before")
    return {"task": served.task, "kind": kind.astype(np.str_), "device": device, **sizes}


def _like(s: Served) -> dict[str, Numbers]:
    four = np.isin(s.precision, ("mxfp4", "nvfp4", "int4"))
    flags = {
        "blackwell": s.blackwell > 0,
        "moe": s.experts > 0,
        "fp8": np.isin(s.precision, ("fp8", "mxfp8")),
        "mxfp4": four,
        "unpacked": four & (s.blackwell == 0),  # by a device that cannot compute with four bits
        "several": s.devices > 1,
        "replicas": s.replicas > 1,
        "recurrent": s.state_byte > 0,
        "video": s.task == "video-chat",
        "image": s.task == "image-chat",
        "many": np.log2(s.devices) / 3,
        "crowd": np.clip(np.log2(s.batch / _CROWD), 0, 4) / 2,
    }
    return {name: np.asarray(each, dtype=np.float64) for name, each in flags.items()}
