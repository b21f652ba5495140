"""Commands that move what is served: switch, rollback, rollouts, servers; the work is imported when one runs."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]
Store = Annotated[
    str, typer.Option("--store", help="A file, or postgresql://…. Default: $PENNYWEIGHT_STORE, or team.db at home.")
]
Alias = Annotated[str, typer.Option("--to", help="The alias that is moved.")]
Why = Annotated[str, typer.Option(help="Why; it is kept in the history.")]
Wait = Annotated[str, typer.Option("--wait", help="How long to wait for the processes that serve it.")]


@app.command()
def switch(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    version: Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as digits@4.")],
    canary: Annotated[str, typer.Option(help="Try it on this share of the requests first, such as 5%.")] = "",
    lasts: Annotated[str, typer.Option("--for", help="How long to try it.")] = "10m",
    *,
    shadow: Annotated[
        bool, typer.Option("--shadow", help="Put copies of requests to it; nobody sees its answers or pays for them.")
    ] = False,
    sticky: Annotated[
        bool, typer.Option("--sticky", help="Try it on a share of the keys, not of the requests.")
    ] = False,
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Allow it to replace a certified version without a certificate.")
    ] = False,
    to: Alias = "production",
    why: Why = "",
    wait: Wait = "1m",
    store: Store = "",
    json: Json = False,
) -> None:
    """Let a version answer from now on, and return when every process does so; no request is dropped.

    It is loaded, warmed and proved beside the old one first; if that fails, the old one stays. With --canary it is
    promoted when the time is over, or rolled back as soon as it is shown to be worse.
    """
    from pennyweight.cli.switching import Wish, tell_switch

    tell_switch(
        Wish(version, to, why, wait, canary, lasts, shadow=shadow, sticky=sticky, uncertified=uncertified),
        store,
        json=json,
    )


@app.command()
def rollback(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The name of a model in the registry.")],
    *,
    to: Alias = "production",
    why: Why = "",
    wait: Wait = "1m",
    store: Store = "",
    json: Json = False,
) -> None:
    """End the trial that goes on or, if there is none, go back to the version before; wait for all processes."""
    from pennyweight.cli.switching import Wish, tell_rollback

    tell_rollback(Wish(model, to, why, wait), store, json=json)


@app.command()
def rollouts(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Only trials of this model.")] = "",
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """List trials: how far they go, what both versions did, and how they ended."""
    from pennyweight.cli.switching import tell_rollouts

    tell_rollouts(model, store, json=json)


@app.command()
def servers(*, store: Store = "", json: Json = False) -> None:
    """List the processes that serve now, with what, and what they refused to serve."""
    from pennyweight.cli.switching import tell_servers

    tell_servers(store, json=json)
