"""`pennyweight serve`: says where it answers, then answers."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say
from pennyweight.units import parse_seconds, parse_share

if TYPE_CHECKING:
    from pennyweight.serve.place import Place, Watch


def tell_serving(place: Place, workers: int) -> None:
    """Serve until a signal says stop."""
    if workers == 1:
        from pennyweight.serve.alone import become

        become(place)
    from pennyweight.serve.crew import serve_many

    code = serve_many(place, workers, say_now)
    if code:
        sys.exit(code)


def watching(every: str, keep: str, *, on: bool) -> Watch:
    """How to watch, as it was typed; raises `BadInputError` for what is no time or no share."""
    from pennyweight.serve.place import Watch

    return Watch(on, parse_seconds(every), parse_share(keep))


def say_now(text: str) -> None:
    """Print a line at once, also where standard output is a file."""
    say(text)
    sys.stdout.flush()
