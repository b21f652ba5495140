"""Where everything is kept."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """The folder everything is kept in: `$PENNYWEIGHT_HOME`, or `.pennyweight` where the command was started."""
    return Path(os.environ.get("PENNYWEIGHT_HOME") or ".pennyweight")
