"""A process that serves and nothing else: what reading the command line needed, some 25 MB, is not in its memory."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pennyweight.errors import PennyweightError
from pennyweight.serve.place import Place
from pennyweight.store.codec import from_json, to_json

if TYPE_CHECKING:
    from collections.abc import Callable

_CHILD = "from pennyweight.serve.alone import main; main()"
_LEAN = {"MALLOC_ARENA_MAX": "2"}  # what one thread gives back, others find again
_INTERRUPTED = 130


def program(code: str) -> list[str]:
    """The words that run `code` in an interpreter for which a file in this folder is no module."""
    return [sys.executable, "-P", "-c", code]


def become(place: Place) -> NoReturn:
    """Put a process that serves at `place` into this one's, with its number, its terminal and its streams."""
    read, write = os.pipe()
    os.write(write, to_json(place).encode())
    os.close(write)
    os.set_inheritable(read, True)
    sys.stdout.flush()
    words = [*program(_CHILD), str(read)]
    os.execve(words[0], words, _LEAN | os.environ)  # ruff: ignore[start-process-with-no-shell] - none is wanted


def main() -> None:
    """Serve at the place that the pipe names until a signal says stop."""
    from pennyweight.serve.running import serve  # not where somebody only wants to become such a process

    ended_well(lambda: serve(from_json(Place, Path(f"/dev/fd/{sys.argv[1]}").read_bytes()), say))


def ended_well(run: Callable[[], None]) -> None:
    """Run; what goes wrong as foreseen is one message and an exit code."""
    try:
        run()
    except PennyweightError as error:
        sys.stderr.write(f"pennyweight: {error}\n")
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def say(text: str) -> None:
    """Print a line at once, also where standard output is a pipe."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
