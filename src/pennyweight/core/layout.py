"""How a model is spread over devices while it is trained or served."""

from __future__ import annotations

from dataclasses import dataclass

from pennyweight.errors import BadInputError

RECOMPUTES = ("none", "selective", "full")
OFFLOADS = ("none", "optimizer", "all")
PRECISIONS = ("fp32", "fp16", "bf16", "fp8", "mxfp8", "nvfp4", "int8", "int4")


@dataclass(frozen=True, slots=True)
class Layout:
    """Degrees of parallelism and what goes with them, in the words of Megatron-LM.

    Tensor (`tp`), pipeline (`pp`), data (`dp`), context (`cp`) and expert (`ep`) parallelism; `dp` counts the replicas
    of everything else, so `devices` is tp · pp · dp · cp and experts are spread over `ep` of the tp · dp · cp devices
    of a stage. `chunks` virtual stages per device interleave the pipeline; `zero` shards optimiser state (1), gradients
    (2) and weights (3, as FSDP does) over data parallelism. `micro_batch` counts sequences of one device and pass.
    """

    tp: int = 1
    pp: int = 1
    dp: int = 1
    cp: int = 1
    ep: int = 1
    chunks: int = 1
    zero: int = 0
    micro_batch: int = 1
    sequence_parallel: bool = False
    recompute: str = "none"
    precision: str = "bf16"
    offload: str = "none"

    def __post_init__(self) -> None:
        degrees = ("tp", "pp", "dp", "cp", "ep", "chunks", "micro_batch")
        wrong = [name for name in degrees if getattr(self, name) < 1]
        if wrong:
            raise BadInputError(f"A layout has {wrong[0]} = {getattr(self, wrong[0])}.", "give one or more.")
        choices = {"recompute": RECOMPUTES, "offload": OFFLOADS, "precision": PRECISIONS, "zero": (0, 1, 2, 3)}
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise BadInputError(
                    f"A layout has {name} = {getattr(self, name)!r}.", f"use one of: {', '.join(map(str, known))}."
                )
        if (self.tp * self.dp * self.cp) % self.ep:
            raise BadInputError(
                f"Experts cannot be spread over {self.ep} of the {self.tp * self.dp * self.cp} devices of a stage.",
                "give an expert parallelism that divides tp · dp · cp.",
            )

    @property
    def devices(self) -> int:
        """How many devices hold one copy of everything that runs."""
        return self.tp * self.pp * self.dp * self.cp
