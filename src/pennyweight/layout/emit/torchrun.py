"""A bash script that trains with Megatron-LM; run on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, final

from pennyweight.layout.emit.megatron import program
from pennyweight.layout.emit.shell import about, needed, script
from pennyweight.layout.emit.target import Target

if TYPE_CHECKING:
    from pennyweight.layout.emit.launch import Launch


@final
class Torchrun(Target):
    """torchrun on machines of one's own: start the script on each, with its number and the first one's address."""

    kinds: ClassVar[tuple[str, ...]] = ("train",)
    suffix: ClassVar[str] = ".sh"

    def text(self, launch: Launch) -> str:
        """The script; see `Target.text`."""
        found: list[str] = []
        if launch.machines > 1:
            found = [
                needed("NODE_RANK", f"the number of this machine, 0 to {launch.machines - 1}"),
                needed("MASTER_ADDR", "the address of machine 0"),
            ]
        return script([*about(launch), "set -euo pipefail", *found, *program(launch)])
