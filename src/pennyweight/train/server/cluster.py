"""Ray on this machine alone: reachable from nowhere else, quiet, and always shut down."""

from __future__ import annotations

import logging
import os
import secrets
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pennyweight.errors import MissingExtraError

if TYPE_CHECKING:
    from collections.abc import Generator

_STORE_BYTE = 200_000_000
# Without the second, Ray on Linux listens on all interfaces; a token keeps other users of the machine out.
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def cluster(store_byte: int = _STORE_BYTE) -> Generator[None]:
    """A Ray of one machine for the block; one that is running already is used and left running.

    It listens on the loopback interface only, asks for a token drawn for this run, reports nothing and has no
    dashboard; if Ray was imported before, it listens and asks as it was told then. Raises `MissingExtraError` without
    Ray.
    """
    if "ray" not in sys.modules:  # it reads these once
        os.environ.update({"RAY_AUTH_TOKEN": secrets.token_hex(32), **_QUIET})
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError.of("Ray", "distributed") from error
    if ray.is_initialized():
        yield
        return
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
        )
        ray._private.worker._worker_logs_enabled = False  # ruff: ignore[private-member-access] - no option stops Ray from printing to standard output who was lost
        yield
    finally:
        ray.shutdown()
