"""How the command line ends when something unforeseen happens: one message, an exit code, nothing swallowed."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pennyweight.errors import StorageError

if TYPE_CHECKING:
    from types import TracebackType

TRACE = "PENNYWEIGHT_TRACE"
"""Set in the environment, it shows where a fault of our own arose."""

_SOON_S = 0.05


def prepare() -> None:
    """Let faults of our own end in one message, and let no Ctrl-C be lost."""
    sys.excepthook = _fault
    sys.unraisablehook = _again


def interrupted(code: int) -> NoReturn:
    """Say so and end at once: all blocks have been left, what they kept is kept.

    An ordinary end would take the interpreter down under threads of native libraries, some of which fall with it.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stderr.write("pennyweight: interrupted; what was finished is on the ledger.\n")
    sys.stderr.flush()
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(code)


def mute(error: OSError) -> StorageError:
    """The sentence for an `error` of standard output itself; nothing is written there from now on.

    Other errors are raised again; where nobody listens any more, this ends as a shell expects it.
    """
    if error.filename is not None:
        raise error
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is buffered would fail again at exit
    if isinstance(error, BrokenPipeError):
        sys.exit(128 + signal.SIGPIPE)
    return StorageError(
        f"Standard output cannot be written: {error.strerror}.", "free space there, or send it elsewhere, then go on."
    )


def _fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if os.environ.get(TRACE) or not issubclass(kind, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    frames = traceback.extract_tb(trace)
    said = "".join(str(error).strip().splitlines()[:1])
    where = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "no known place"
    sys.stderr.write(
        f"pennyweight: Something unforeseen went wrong in {where}: {kind.__name__}: {said}. What was finished is on "
        f"the ledger. To fix: please report what the same command says with {TRACE}=1.\n"
    )


def _again(lost: sys.UnraisableHookArgs) -> None:
    """Python cannot let an interrupt out of a finalizer: send it once more, to where it can be heard."""
    if not issubclass(lost.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(lost)
    elif not sys.is_finalizing():
        threading.Timer(_SOON_S, os.kill, (os.getpid(), signal.SIGINT)).start()
