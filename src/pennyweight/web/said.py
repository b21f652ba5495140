"""What whoever asks is told when something goes wrong: a status and one sentence without a path or a secret."""

from __future__ import annotations

import logging

from pennyweight.errors import BadInputError, CorruptError, StorageError, UnknownNameError
from pennyweight.serve.refused import RefusedError

_LOG = logging.getLogger("pennyweight.web")


def refusal(error: Exception) -> tuple[int, str, str]:
    """The status, the problem and the fix; what only the owner of this machine may read goes to the log."""
    match error:
        case RefusedError():
            return error.status, error.why, ""
        case UnknownNameError():
            return 404, error.problem, error.fix
        case BadInputError():
            return 400, error.problem, error.fix
        case StorageError() | CorruptError():
            _LOG.error("%s", error)
            return 503, "What is kept cannot be read now.", "see what pennyweight ui says where it was started."
    _LOG.error("a page failed", exc_info=error)
    return 500, "This page cannot be drawn.", "see what pennyweight ui says where it was started."
