"""`pennyweight serve --emit TARGET`: writes what would run the server elsewhere, and starts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pennyweight.cli.screen import say
from pennyweight.serve.emitting.deployment import Deployment, Size, replicas
from pennyweight.serve.emitting.file import write
from pennyweight.serve.emitting.known import capacity, machine_of, measured, versions
from pennyweight.serve.emitting.targets import check_target, emit
from pennyweight.store.team.opened import opened, reading
from pennyweight.units import si, usd

if TYPE_CHECKING:
    from pennyweight.serve.place import Place


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be written, and where to: the `device` is one of the catalog's, "" for this machine."""

    target: str
    output: Path | None
    slo_ms: float
    replicas: str
    device: str
    prices: str
    force: bool


def tell_emitted(place: Place, workers: int, order: Order) -> None:
    """Write the files, and say where they are and what a request will cost."""
    check_target(order.target)
    least, most = replicas(order.replicas)
    with opened(place.store) as engine, reading(engine) as link:
        found = measured(versions(link, place.models))
        of = Deployment(
            place.models,
            found.need,
            capacity(found, order.slo_ms / 1000, order.device),
            machine_of(order.device, order.prices),
            Size(least, most, workers),
            place.port,
            address_of(engine.url),
            place.hosts,
            place.uncertified,
            place.watch,
            place.api,
            place.otel,
        )
    files = emit(order.target, of)
    folder = order.output or Path(f"{of.name}-{order.target}")
    for path in write(files, folder, force=order.force):
        say(f"{path}")
    say(
        f"One replica of {of.request_mib} MiB answers {si(of.rate_s, '', 3)} requests/s within {order.slo_ms:g} ms, "
        f"at {usd(of.request_usd)} each."
    )


def address_of(url: object) -> str:
    """The address of a store without its password, as `--store` takes it; a path for a database in a file."""
    from sqlalchemy.engine import make_url

    found = make_url(url)  # type: ignore[arg-type]
    if found.drivername.startswith("sqlite"):
        return str(found.database)
    bare = found.set(drivername="postgresql", password=None)
    return bare.render_as_string(hide_password=False)
