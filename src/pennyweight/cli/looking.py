"""`pennyweight ui`: the dashboard."""

from __future__ import annotations

from typing import Annotated

import typer

from pennyweight.cli import teaming
from pennyweight.errors import MissingExtraError

app = typer.Typer()

Store = teaming.Store


@app.command()
def ui(
    port: Annotated[int, typer.Option(help="The port to listen at.", min=0, max=65535)] = 8100,
    host: Annotated[str, typer.Option(help="The address to listen at; others need an admin's key.")] = "127.0.0.1",
    name: Annotated[list[str] | None, typer.Option(help="A host name that browsers may ask under.")] = None,
    *,
    store: Store = "",
) -> None:
    """Show what is served, what it costs and what was run, in a browser; each page is also JSON at its path + .json.

    As long as there is no key, everybody on this machine may look and switch; afterwards only admins may.
    """
    from pennyweight.cli.serving import say_now

    try:
        from pennyweight.web.running import Where, show
    except ModuleNotFoundError as error:
        raise MissingExtraError.of(str(error.name), "serve") from error

    show(Where(host, port, store, tuple(name or ())), say_now)
