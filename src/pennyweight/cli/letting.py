"""Commands about who may ask: `tenants`; the work is imported when one runs."""

from __future__ import annotations

from typing import Annotated

import typer

from pennyweight.cli import teaming

app = typer.Typer()
tenants = typer.Typer(name="tenants", help="Who may ask: tenants, their keys, rates and budgets.")
app.add_typer(tenants)

Json = teaming.Json
Store = teaming.Store
Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The name of a tenant.")]


@tenants.command("add")
def tenants_add(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    name: Tenant,
    organisation: Annotated[str, typer.Option(help="Whose part it is. Default: an organisation of its own.")] = "",
    budget: Annotated[
        list[str] | None, typer.Option(help="A budget that holds, such as 5usd/day; may be repeated.")
    ] = None,
    rate: Annotated[str, typer.Option(help="The most requests, such as 100/s. Default: no limit.")] = "",
    zone: Annotated[str, typer.Option(help="The time zone in which days and months begin.")] = "UTC",
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """Add a tenant with a key, which is printed once and never again."""
    from pennyweight.cli.tenanting import Wish, tell_added

    tell_added(Wish(name, organisation or name, tuple(budget or ()), rate, zone), store, json=json)


@tenants.command("key")
def tenants_key(
    name: Tenant,
    role: Annotated[str, typer.Option(help="What it may do: caller or admin.")] = "caller",
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """Make one more key for a tenant, printed once."""
    from pennyweight.cli.tenanting import tell_key

    tell_key(name, role, store, json=json)


@tenants.command("revoke")
def tenants_revoke(
    key: Annotated[str, typer.Argument(help="The key's id: its part between the underscores.")],
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """Let a key open nothing from now on; servers follow within a second."""
    from pennyweight.cli.tenanting import tell_revoked

    tell_revoked(key, store, json=json)


@tenants.command("close")
def tenants_close(name: Tenant, *, store: Store = "", json: Json = False) -> None:
    """Let a tenant ask no more; its bills stay."""
    from pennyweight.cli.tenanting import tell_closed

    tell_closed(name, store, json=json)


@tenants.command("budget")
def tenants_budget(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    name: Annotated[str, typer.Argument(help="A tenant, an organisation, or the id of a key.")],
    budget: Annotated[str, typer.Argument(help="Such as 5usd/day: per minute, hour, day, month or total.")],
    level: Annotated[str, typer.Option(help="Whose it is: key, tenant or organisation.")] = "tenant",
    zone: Annotated[str, typer.Option(help="The time zone in which days and months begin.")] = "UTC",
    *,
    soft: Annotated[bool, typer.Option("--soft", help="Only warn, at 80% and at 100%; refuse nothing.")] = False,
    store: Store = "",
    json: Json = False,
) -> None:
    """Set a budget that holds, or change it; what was spent in its period stays spent."""
    from pennyweight.cli.tenanting import read_budget, tell_budget

    tell_budget(read_budget(budget, level, name, zone, hard=not soft), store, json=json)


@tenants.command("list")
def tenants_list(*, store: Store = "", json: Json = False) -> None:
    """List tenants with their keys' ids, rates, and where their budgets stand."""
    from pennyweight.cli.tenanting import tell_tenants

    tell_tenants(store, json=json)
