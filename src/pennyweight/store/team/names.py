"""What models, tenants and organisations may be called: nothing that could be a path, a query or a template."""

from __future__ import annotations

import re

from pennyweight.errors import BadInputError

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)


def named(what: str, name: str) -> str:
    """The name itself; raises `BadInputError` if it is none."""
    if not _NAME.fullmatch(name):
        raise BadInputError(
            f"A {what} cannot be named {name[:80]!r}.",
            "use up to 64 of a-z, 0-9, dot, dash and underscore, starting with a letter or digit.",
        )
    return name
