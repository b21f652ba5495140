"""Where a server listens, what it serves and how: plain values, so that whoever only says so loads nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field

from pennyweight.errors import BadInputError

EVERY_S = 3600.0
WEEK_S = 7 * 86_400.0
MOST_GUESSES = 32
NGRAM = "ngram"


@dataclass(frozen=True, slots=True)
class Watch:
    """Whether and how a server watches: every how many seconds at drift, and which share of answers is kept."""

    on: bool = True
    every_s: float = EVERY_S
    keep: float = 1.0

    def __post_init__(self) -> None:
        """Refuse what is no time and no share."""
        if not 0 < self.every_s <= WEEK_S:
            raise BadInputError(
                f"Every {self.every_s:g} seconds nobody can look.", "give --watch-every a time up to 7d, such as 1h."
            )
        if not 0 <= self.keep <= 1:
            raise BadInputError(f"{self.keep:g} is no share of answers.", "give --keep-answers a share, such as 10%.")

    @property
    def share(self) -> float | None:
        """The share of answers to be kept, None where nobody watches."""
        return self.keep if self.on else None


@dataclass(frozen=True, slots=True)
class Drafted:
    """What guesses how texts go on: "ngram", a checkpoint's folder, or nothing; so many `tokens`, 0 for what pays."""

    source: str = ""
    tokens: int = 0

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense, and a number of guesses that nobody makes."""
        if not 0 <= self.tokens <= MOST_GUESSES:
            raise BadInputError(
                f"{self.tokens} tokens are not guessed at once.", f"give --draft-tokens 1 to {MOST_GUESSES}."
            )
        if self.tokens and not self.source:
            raise BadInputError("Nothing guesses tokens.", "say what does: --draft ngram, or a smaller checkpoint.")


@dataclass(frozen=True)
class Place:
    """Where to listen and what to serve: models as "digits", "digits@3" or "digits@staging"."""

    models: tuple[str, ...]
    host: str = "127.0.0.1"
    port: int = 8000
    store: str = ""
    hosts: tuple[str, ...] = ()
    share: float = 1.0  # of every rate, where several processes share it
    uncertified: bool = False  # versions without a certificate may take the place of those that have one
    watch: Watch = field(default_factory=Watch)
    api: str = ""  # "openai": every model must be a language model that speaks it
    otel: bool = False  # a span of OpenTelemetry for every request
    draft: Drafted = field(default_factory=Drafted)
    counts: str = ""  # the file of its counters, beside those of other processes of this server
