"""A Slurm batch script that trains or serves."""

from __future__ import annotations

from itertools import starmap
from typing import TYPE_CHECKING, ClassVar, final

from pennyweight.layout.emit import engine, megatron
from pennyweight.layout.emit.launch import KINDS
from pennyweight.layout.emit.shell import about, indented, needed, script
from pennyweight.layout.emit.target import Target

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch


@final
class Slurm(Target):
    """sbatch: whole machines, put back in the queue when one fails; training goes on from its last checkpoint."""

    kinds: ClassVar[tuple[str, ...]] = KINDS
    suffix: ClassVar[str] = ".sbatch"

    def text(self, launch: Launch) -> str:
        """The script; see `Target.text`."""
        lines = self._train(launch) if launch.kind == "train" else self._serve(launch)
        return script([*_header(launch), *about(launch), "set -euo pipefail", *lines])

    def _train(self, launch: Launch) -> list[str]:
        inner = ["set -euo pipefail", 'export NODE_RANK="$SLURM_NODEID"', *megatron.program(launch)]
        return [
            *starmap(needed, megatron.SETTINGS.items()),
            'read -r MASTER_ADDR < <(scontrol show hostnames "$SLURM_JOB_NODELIST")',
            "export MASTER_ADDR",
            *_everywhere("train", inner, "--kill-on-bad-exit=1"),
        ]

    def _serve(self, launch: Launch) -> list[str]:
        alone, machines = launch.group_machines == 1, launch.group_machines
        if alone:
            own = engine.own_devices(launch, "SLURM_LOCALID")
            first = [f'export PORT="$(( {engine.PORT} + SLURM_LOCALID ))"', f"export CUDA_VISIBLE_DEVICES={own}"]
        else:
            first = [
                'mapfile -t hosts <<< "$HOSTS"',
                f"NODE_RANK=$(( SLURM_NODEID % {machines} ))",
                'MASTER_ADDR="${hosts[SLURM_NODEID - NODE_RANK]}"',
            ]
        return [
            'HOSTS="$(scontrol show hostnames "$SLURM_JOB_NODELIST")"',
            "export HOSTS",
            *_everywhere("serve", ["set -euo pipefail", *first, *engine.program(launch)], "--kill-on-bad-exit=1"),
        ]


def _everywhere(name: str, inner: list[str], how: str) -> list[str]:
    """A function, and srun of it in every task: its text travels in the command, not in the environment."""
    return [f"{name}() {{", *indented(inner), "}", f'srun {how} bash -c "$(declare -f {name}); {name}"']


def _header(launch: Launch) -> list[str]:
    tasks = launch.replicas * launch.group_machines
    options = {
        "job-name": launch.slug,
        "nodes": launch.machines,
        "ntasks": tasks if launch.kind == "serve" else launch.machines,
        "ntasks-per-node": launch.machine_groups,
        "gpus-per-node": launch.machine_devices * launch.machine_groups,
        "output": "%x-%j.log",
        "open-mode": "append",
    }
    return [
        *(f"#SBATCH --{name}={value}" for name, value in options.items()),
        "#SBATCH --exclusive",
        "#SBATCH --requeue",
    ]
