"""Commands that settle accounts: `correct` and `reconcile`; the work is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pennyweight.cli import letting, teaming

app = typer.Typer()

Json = teaming.Json
Store = teaming.Store
Tenant = letting.Tenant
Model = teaming.Model
Invoice = Annotated[Path, typer.Argument(help="CSV with tenant, model, day, usd; or a FOCUS data set as CSV.")]


@app.command()
def correct(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    tenant: Tenant,
    model: Model,
    *,
    usd: Annotated[str, typer.Option(help="Dollars to add to the bill; -1.5 gives back.")],
    why: Annotated[str, typer.Option(help="Why; it is on the bill.")],
    day: Annotated[str, typer.Option(help="The day that is corrected, such as 2026-11-03. Default: today.")] = "",
    store: Store = "",
    json: Json = False,
) -> None:
    """Correct a bill by a row of its own; no row that is there is ever changed."""
    from pennyweight.cli.invoicing import tell_corrected

    tell_corrected((tenant, model), usd, why, day, store=store, json=json)


@app.command()
def reconcile(
    invoice: Invoice,
    *,
    least: Annotated[str, typer.Option(help="Name differences of this much or more.")] = "0.000000001usd",
    apply: Annotated[bool, typer.Option("--apply", help="Write the corrections that end the differences.")] = False,
    store: Store = "",
    json: Json = False,
) -> None:
    """Compare an invoice with what was metered, by tenant, model and day, and propose corrections."""
    from pennyweight.cli.invoicing import tell_reconciled

    tell_reconciled(invoice, least, store, apply=apply, json=json)
