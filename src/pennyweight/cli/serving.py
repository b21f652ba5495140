"""`pennyweight serve`: says where it answers, then answers."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say
from pennyweight.errors import BadInputError
from pennyweight.units import parse_seconds, parse_share

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pennyweight.serve.place import Drafted, Place, Watch


def tell_serving(place: Place, workers: int) -> None:
    """Serve until a signal says stop."""
    if workers == 1:
        from pennyweight.serve.alone import become

        become(place)
    from pennyweight.serve.crew import serve_many

    code = serve_many(place, workers, say_now)
    if code:
        sys.exit(code)


def named(models: Sequence[str], store: str) -> tuple[str, ...]:
    """Models as the registry knows them; a folder, which has a slash in it, is registered under its own name first."""
    return tuple(_registered(Path(each), store) if "/" in each else each for each in models)


def _registered(folder: Path, store: str) -> str:
    from pennyweight.cli.registering import Added, add

    name = re.sub(r"[^a-z0-9._-]+", "-", folder.resolve().name.removesuffix(".pw").lower()).strip("-._")[:64]
    return str(add(Added(folder, name or "model"), store))


def watching(every: str, keep: str, *, on: bool) -> Watch:
    """How to watch, as it was typed; raises `BadInputError` for what is no time or no share."""
    from pennyweight.serve.place import Watch

    return Watch(on, parse_seconds(every), parse_share(keep))


def drafted(draft: str, tokens: int, *, emits: bool) -> Drafted:
    """What guesses, as it was typed; raises `BadInputError` for a folder that is no checkpoint, or for a deployment."""
    from pennyweight.serve.place import NGRAM, Drafted
    from pennyweight.serve.versions.checkpoints import is_checkpoint

    if draft and emits:
        raise BadInputError("A deployment is planned without a draft.", "leave --draft out.")
    if draft in {"", NGRAM}:
        return Drafted(draft, tokens)
    folder = Path(draft).expanduser().resolve()
    if not is_checkpoint(folder):
        raise BadInputError(
            f"{draft} is no checkpoint that could guess.", "give --draft a folder as Hugging Face has them, or ngram."
        )
    return Drafted(str(folder), tokens)


def say_now(text: str) -> None:
    """Print a line at once, also where standard output is a file."""
    say(text)
    sys.stdout.flush()
