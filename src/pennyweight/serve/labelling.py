"""Labels as a caller sends them: read, checked to be about requests of its own, and kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import orjson

from pennyweight.errors import BadInputError, PennyweightError
from pennyweight.serve.refused import RefusedError, bad
from pennyweight.serve.watch.telling import MOST, labels_of
from pennyweight.store.team import labels

if TYPE_CHECKING:
    from pennyweight.serve.money.book import Book
    from pennyweight.store.team.labels import Label
    from pennyweight.store.team.tenants import Caller

MOST_BYTE = 256 * MOST


def read(body: bytes) -> tuple[Label, ...]:
    """The labels in a body; raises `RefusedError` (400), naming the first that is none."""
    try:
        return labels_of(orjson.loads(body))
    except orjson.JSONDecodeError:
        raise bad("The body is no JSON.") from None
    except BadInputError as error:
        raise bad(error.problem) from None


async def kept(book: Book, caller: Caller, model: str, told: tuple[Label, ...]) -> dict[str, int]:
    """Keep labels of a caller's own requests; how many they are, and how many join an answer that is kept already.

    Raises `RefusedError`: 404, and none is kept, if one is about another's request or about none; 503 if the store
    cannot be written.
    """
    errand = partial(labels.add_of, tenant=caller.tenant.name, model=model, labels=told)
    try:
        joined = await book.run(errand)
    except BadInputError as error:
        raise RefusedError(404, error.problem) from None
    except PennyweightError as error:
        raise RefusedError(503, "The store cannot be written.", retry_s=1.0) from error
    return {"labels": len(told), "joined": joined}
