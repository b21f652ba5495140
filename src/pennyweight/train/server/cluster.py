"""Ray on this machine alone: reachable from nowhere else, quiet, and always shut down."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import sys
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pennyweight.errors import BadInputError, MissingExtraError
from pennyweight.train.server.hand import Pool

if TYPE_CHECKING:
    from collections.abc import Generator
    from types import ModuleType

_STORE_BYTE = 200_000_000
_LONGEST = 24  # letters of a folder in which Ray can still name its sockets (Linux allows 107 in all)
# Without the second, Ray on Linux listens on all interfaces; a token keeps other users of the machine out.
_LISTENS = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    _LISTENS: "0",
    "RAY_AUTH_MODE": "token",
}
_POOLS: list[Pool] = []  # that of the block we are in, if any


@contextmanager
def cluster(store_byte: int = _STORE_BYTE) -> Generator[Pool]:
    """A Ray of one machine for the block, and its processes; one that is running already is used and left running.

    Within a block that is open, another gets the same processes: what one training has started serves the next.
    Ray listens on the loopback interface only, asks for a token drawn for this run, reports nothing and has no
    dashboard. Raises `MissingExtraError` without Ray, and `BadInputError` if Ray was imported before in such a way
    that it would listen to other machines: it reads that only once.
    """
    ray = _ray()
    if _POOLS and ray.is_initialized():
        yield _POOLS[-1]
        return
    if not ray.is_initialized() and os.environ.get(_LISTENS) != _QUIET[_LISTENS]:
        raise BadInputError(
            "Ray was imported before this training, and would listen to other machines.",
            f"begin Ray yourself, set {_LISTENS}=0 before it is imported, or do not import it.",
        )
    with contextlib.nullcontext() if ray.is_initialized() else _begun(store_byte):
        pool = Pool()
        _POOLS.append(pool)
        try:
            yield pool
        finally:
            _POOLS.remove(pool)
            pool.end()


def _ray() -> ModuleType:
    if "ray" not in sys.modules:  # it reads these once
        os.environ.update({"RAY_AUTH_TOKEN": secrets.token_hex(32), **_QUIET})
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("Ray", "distributed") from error
    return ray  # type: ignore[no-any-return]


@contextmanager
def _begun(store_byte: int) -> Generator[None]:
    """A Ray for the block; neither processes nor files of it are left behind."""
    import ray

    above = tempfile.gettempdir() if len(tempfile.gettempdir()) < _LONGEST else "/tmp"  # ruff: ignore[hardcoded-temp-file] - a fresh folder in it that only we may read
    with tempfile.TemporaryDirectory(prefix="ray-", dir=above, ignore_cleanup_errors=True) as folder:
        try:
            ray.init(
                address="local",
                num_cpus=1,
                include_dashboard=False,
                log_to_driver=False,
                configure_logging=False,
                logging_level=logging.ERROR,
                object_store_memory=max(store_byte, 80_000_000),
                _node_ip_address="127.0.0.1",
                _temp_dir=folder,
            )
            ray._private.worker._worker_logs_enabled = False  # ruff: ignore[private-member-access] - no option stops Ray from printing to standard output who was lost
            yield
        finally:
            ray.shutdown()
