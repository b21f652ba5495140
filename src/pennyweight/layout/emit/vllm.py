"""A bash script that serves with vLLM; run on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from pennyweight.layout.emit import pair
from pennyweight.layout.emit.engine import PORT, program, several
from pennyweight.layout.emit.shell import about, needed, script
from pennyweight.layout.emit.target import Target

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch


@final
class Vllm(Target):
    """`vllm serve` on machines of one's own: every replica of a machine has a port, counted from PORT.

    Two pools are started by one script, whose router is vLLM's own or another.
    """

    kinds: ClassVar[tuple[str, ...]] = ("serve",)
    suffix: ClassVar[str] = ".sh"
    pairs: ClassVar[bool] = True

    def text(self, launch: Launch) -> str:
        """The script; see `Target.text`."""
        if launch.reads is not None:
            return script(pair.program(launch))
        lines = [*about(launch), *self._how(launch), "set -euo pipefail"]
        if launch.group_machines > 1:
            lines += [
                needed("NODE_RANK", f"the number of this machine in its replica, 0 to {launch.group_machines - 1}"),
                needed("MASTER_ADDR", "the address of machine 0 of the replica"),
            ]
        return script([*lines, *(several(launch) if launch.machine_groups > 1 else program(launch))])

    def _how(self, launch: Launch) -> list[str]:
        """Where it is run and what it starts."""
        here, last = launch.machine_groups, launch.replicas % launch.machine_groups
        if launch.group_machines > 1:
            return [f"# {launch.replicas} replica(s) of {launch.group_machines} machines each: run it on all of them"]
        if here == 1:
            return [f"# run it on each of {launch.machines} machine(s): one replica each, port {PORT}"]
        rest = f"; on the last one set REPLICAS={last}" * bool(last)
        return [f"# run it on each of {launch.machines} machine(s): {here} replicas each, ports from {PORT}{rest}"]
