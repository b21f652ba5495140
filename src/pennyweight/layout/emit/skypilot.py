"""A SkyPilot task: which machines to rent where, spare or not, and what to run on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, final

from pennyweight.errors import BadInputError
from pennyweight.layout.emit import engine, megatron
from pennyweight.layout.emit.launch import KINDS
from pennyweight.layout.emit.manifest import documents
from pennyweight.layout.emit.shell import about
from pennyweight.layout.emit.target import Target

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch

# What SkyPilot calls the devices whose name is not ours in capitals.
_NAMES = {
    "a100-80gb-pcie": "A100-80GB",
    "a100-40gb": "A100",
    "v100-16gb": "V100",
    "v100-pcie": "V100",
    "h100-pcie": "H100",
    "h100-nvl": "H100",
    "quadro-rtx-6000": "RTX6000",
    "rtx-6000-ada": "RTX6000-Ada",
    "rtx-pro-6000": "RTXPRO6000",
    "rtx-5090": "RTX5090",
    "rtx-4090": "RTX4090",
    "rtx-3090": "RTX3090",
}
_EVERYWHERE = "all"  # what a price list calls the region of one price for all
_STARTUP_S = 3600
_FIND = ['export NODE_RANK="$SKYPILOT_NODE_RANK"', 'read -r MASTER_ADDR <<< "$SKYPILOT_NODE_IPS"', "export MASTER_ADDR"]


@final
class Skypilot(Target):
    """sky launch: machines of the offer, and the program on each; a serving plan of several replicas is a service."""

    kinds: ClassVar[tuple[str, ...]] = KINDS
    suffix: ClassVar[str] = ".yaml"

    def text(self, launch: Launch) -> str:
        """The task; see `Target.text`."""
        train = launch.kind == "train"
        task = _training(launch) if train else _serving(launch)
        words = {True: "sky jobs launch", False: "sky launch" if train or "service" not in task else "sky serve up"}
        start = words[train and launch.spare]
        settings = "".join(f" --env {name}" for name, value in task.get("envs", {}).items() if value is None)
        return "\n".join([*about(launch), f"# {start}{settings} THIS_FILE", documents([task])])


def _training(launch: Launch) -> dict[str, Any]:
    settings: dict[str, Any] = {"BUCKET": None, "DATA": None, "LR": None, "CHECKPOINTS": f"/checkpoints/{launch.slug}"}
    home = ['export MEGATRON="$HOME/megatron-lm"']
    setup = [
        *home,
        '[[ -d "$MEGATRON" ]] || git clone --depth 1 https://github.com/NVIDIA/Megatron-LM "$MEGATRON"',
        'pip install --no-build-isolation "$MEGATRON[mlm,dev]"',
    ]
    return {
        **_task(launch, launch.machines),
        "envs": settings,
        "file_mounts": {"/checkpoints": {"source": "${BUCKET}", "mode": "MOUNT"}},
        "setup": _block(setup),
        "run": _block(["set -euo pipefail", *home, *_FIND, *megatron.program(launch)]),
    }


def _serving(launch: Launch) -> dict[str, Any]:
    _check(launch)
    groups, apart = launch.machine_groups, launch.group_machines > 1
    more: dict[str, Any] = {}
    if launch.replicas > groups:
        probe = {"path": "/health", "initial_delay_seconds": _STARTUP_S}
        more["service"] = {"readiness_probe": probe, "replicas": launch.machines}
    if engine.settings(launch)[0].startswith(":"):
        more["envs"] = {"WEIGHTS": None}
    task = _task(launch, launch.group_machines)
    task["resources"]["ports"] = engine.PORT
    run = ["set -euo pipefail", *(_FIND if apart else []), *engine.program(launch, groups=groups)]
    return {**task, **more, "setup": _block(["set -e", "pip install vllm"]), "run": _block(run)}


def _task(launch: Launch, machines: int) -> dict[str, Any]:
    """Name and machines of a task."""
    device, offer = launch.accelerator.name, launch.offer
    wanted: dict[str, Any] = {"accelerators": f"{_NAMES.get(device, device.upper())}:{launch.node_devices}"}
    if offer is not None:
        place = [offer.cloud] if offer.region == _EVERYWHERE else [offer.cloud, offer.region]
        wanted = {"infra": "/".join(place), **wanted, "instance_type": offer.instance}
    return {"name": launch.slug, "num_nodes": machines, "resources": {**wanted, "use_spot": launch.spare}}


def _block(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"


def _check(launch: Launch) -> None:
    groups = launch.machine_groups
    if launch.group_machines > 1 and launch.replicas > 1:
        raise BadInputError(
            f"Replicas of a service are one machine each here, and {launch.group} devices are {launch.group_machines}.",
            "use --emit slurm, or plan replicas that fit on a machine.",
        )
    if groups > 1 and launch.dims.experts:
        raise BadInputError(
            f"Behind one address, {groups} replicas of {launch.dims.name} on a machine would share their experts.",
            "use --emit slurm or kubernetes, or plan replicas that fill a machine.",
        )
    if launch.replicas % groups:
        raise BadInputError(
            f"{launch.replicas} replicas do not fill machines that hold {groups}.",
            f"use --emit slurm or kubernetes, or plan a multiple of {groups} replicas.",
        )
