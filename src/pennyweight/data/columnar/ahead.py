"""The next items of an iterator, made in a thread while the last ones are used."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

T = TypeVar("T")
_END: Any = object()


def ahead(items: Iterator[T], depth: int) -> Generator[T]:
    """The same items in the same order, up to `depth` of them made beforehand; what fails there is raised here."""
    if depth < 1:
        yield from items
        return
    with ThreadPoolExecutor(1, thread_name_prefix="pennyweight-ahead") as thread:
        coming: deque[Future[T]] = deque(thread.submit(next, items, _END) for _ in range(depth))
        try:
            while (item := coming.popleft().result()) is not _END:
                coming.append(thread.submit(next, items, _END))
                yield item
        finally:
            thread.shutdown(wait=True, cancel_futures=True)
