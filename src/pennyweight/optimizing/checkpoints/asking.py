"""What is asked of a search over a checkpoint; contradictions are said here, before anything is opened."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from pennyweight.catalog.accelerators import accelerator
from pennyweight.core import Floor, Limits, Slack
from pennyweight.errors import BadInputError

CPU = "cpu"
USUAL_TOKENS = 200_000
_LEAST_ANSWER = 2


@final
@dataclass(frozen=True, slots=True)
class Load:
    """Requests as prices are asked for: tokens of a prompt and of its answer, and how many this machine does at once.

    On accelerators as many run at once as is cheapest while a token takes no longer than `token_s` seconds.
    """

    prompt: int = 128
    answer: int = 128
    at_once: int = 4
    token_s: float = 0.05

    def __post_init__(self) -> None:
        if self.prompt < 1 or self.answer < _LEAST_ANSWER or self.at_once < 1 or not self.token_s > 0:
            raise BadInputError(
                f"Requests of {self.prompt} tokens in and {self.answer} out cannot be priced.",
                "give --prompt 1 or more, and --answer 2 or more.",
            )

    def within(self, context: int) -> Load:
        """The same, in proportion, for a model that can look at `context` tokens (0: unknown)."""
        whole = self.prompt + self.answer
        if not context or whole <= context:
            return self
        answer = max(_LEAST_ANSWER, self.answer * context // whole)
        return Load(max(1, context - answer), answer, self.at_once, self.token_s)


@final
@dataclass(frozen=True, slots=True)
class Ask:
    """Which checkpoint, how much of its quality may be given up, judged on which texts, for which devices.

    `give_up` is the share by which perplexity may rise, with this `confidence`; `on` names accelerators of the catalog
    and "cpu", this machine. At most `tokens` of the texts are used. The winner is written to `out`, the work lies
    beside it; with `fresh` what was measured there before is forgotten.
    """

    folder: Path
    texts: tuple[Path, ...]
    out: Path
    give_up: float = 0.01
    confidence: float = 0.95
    on: tuple[str, ...] = (CPU,)
    tokens: int = USUAL_TOKENS
    load: Load = Load()
    limits: Limits = field(default_factory=Limits)
    prices: str = "local"
    fresh: bool = False

    def __post_init__(self) -> None:
        _ = self.floor, self.devices
        if not self.texts:
            raise BadInputError("There is no text to judge by.", "give --eval TEXT.txt.")
        if self.tokens < 1:
            raise BadInputError(f"{self.tokens} tokens are no text.", "give --tokens above zero.")
        own, target = self.folder.resolve(), self.out.resolve()
        if own == target or own in target.parents or target in own.parents:
            raise BadInputError(f"{self.out} is the checkpoint itself, or around it.", "give another folder to --out.")
        if self.out.exists():
            raise BadInputError(f"{self.out} is there already.", "give the name of a new folder to --out.")

    @property
    def floor(self) -> Floor:
        """The floor."""
        return Floor("perplexity", self.give_up, Slack.RATIO, self.confidence)

    @property
    def devices(self) -> tuple[str, ...]:
        """The devices by their names in the catalog, each once; raises `UnknownNameError` for others."""
        names = [name if name == CPU else accelerator(name).name for name in self.on]
        return tuple(dict.fromkeys(names)) or (CPU,)

    @property
    def place(self) -> Path:
        """Where the work lies until it is done."""
        out = Path(self.out)
        return out.with_name(f"{out.name}.search")
