"""Commands of what a team shares: `registry`, `tariff`, `bill`, `serve`; the work is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
registry = typer.Typer(name="registry", help="Versions of models, and the aliases that stand for them.")
app.add_typer(registry)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]
Store = Annotated[
    str, typer.Option("--store", help="A file, or postgresql://…. Default: $PENNYWEIGHT_STORE, or team.db at home.")
]
Artifact = Annotated[Path, typer.Argument(help="An artifact folder, such as winner.pw.")]
Version = Annotated[str, typer.Argument(metavar="MODEL@VERSION", help="Such as digits@3.")]
Models = Annotated[
    list[str], typer.Argument(metavar="MODEL…", help="Such as digits (its production), digits@3 or digits@staging.")
]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="The name of a model in the registry.")]
Alias = Annotated[str, typer.Option("--to", help="The alias that stands for it from now on.")]
Why = Annotated[str, typer.Option(help="Why; it is kept in the history.")]


@registry.command("add")
def registry_add(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    artifact: Artifact,
    name: Annotated[str, typer.Option("--name", help="The model's name.")],
    *,
    artifacts: Annotated[str, typer.Option(help="Keep it at this URL (fsspec) instead of at home.")] = "",
    runtime: Annotated[
        str, typer.Option(help="Of a checkpoint: openvino or torch. Default: openvino where it can.")
    ] = "",
    precision: Annotated[
        str, typer.Option(help="Of a checkpoint: float32, bfloat16, or int8 in openvino. Default: float32 if it fits.")
    ] = "",
    store: Store = "",
    json: Json = False,
) -> None:
    """Keep an artifact as the next version of a model; the same content keeps the number that it has.

    A folder that MLflow has written is taken too, if it holds an ONNX model, and a language model's checkpoint as
    Hugging Face has them (safetensors, config.json, tokenizer.json).
    """
    from pennyweight.cli.registering import Added, tell_added

    tell_added(Added(artifact, name, artifacts, runtime, precision), store, json=json)


@registry.command("promote")
def registry_promote(
    version: Version, to: Alias = "production", why: Why = "", *, store: Store = "", json: Json = False
) -> None:
    """Let an alias stand for a version; servers of the alias follow within a second, and drop no request."""
    from pennyweight.cli.registering import tell_promoted

    tell_promoted(version, to, why, store, json=json)


@registry.command("rollback")
def registry_rollback(
    model: Model, to: Alias = "production", why: Why = "", *, store: Store = "", json: Json = False
) -> None:
    """Let an alias stand for what it stood for before."""
    from pennyweight.cli.registering import tell_rolled_back

    tell_rolled_back(model, to, why, store, json=json)


@registry.command("retire")
def registry_retire(version: Version, why: Why = "", *, store: Store = "", json: Json = False) -> None:
    """Let a version be promoted no more."""
    from pennyweight.cli.registering import tell_retired

    tell_retired(version, why, store, json=json)


@registry.command("list")
def registry_list(*, store: Store = "", json: Json = False) -> None:
    """List all versions: where they are from, what is guaranteed, and which aliases stand for them."""
    from pennyweight.cli.registering import tell_versions

    tell_versions(store, json=json)


@registry.command("history")
def registry_history(model: Model, *, store: Store = "", json: Json = False) -> None:
    """Tell what was done to a model's versions and aliases: when, by whom, why."""
    from pennyweight.cli.registering import tell_history

    tell_history(model, store, json=json)


@app.command()
def tariff(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    model: Model,
    *,
    request: Annotated[str, typer.Option(help="Dollars per request.")] = "0",
    row: Annotated[str, typer.Option(help="Dollars per row or token that goes in.")] = "0",
    answer: Annotated[str, typer.Option(help="Dollars per row or token that comes out.")] = "0",
    cached: Annotated[str, typer.Option(help="Dollars per row or token that goes in and was cached.")] = "0",
    second: Annotated[str, typer.Option(help="Dollars per second of compute.")] = "0",
    store: Store = "",
    json: Json = False,
) -> None:
    """Set what a model's requests cost from now on, or with no price given tell what they cost."""
    from pennyweight.cli.billing import tell_tariff

    tell_tariff(model, (request, row, answer, cached, second), store, json=json)


@app.command()
def bill(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    by: Annotated[str, typer.Option(help="Split by tenant, organisation, model, version, key, day.")] = "tenant,model",
    month: Annotated[str, typer.Option(help="Only this month, such as 2026-11. Default: everything.")] = "",
    idle_usd_hour: Annotated[str, typer.Option(help="What the machine costs per hour; idle hours are shared.")] = "0",
    focus: Annotated[
        Path | None, typer.Option(help="Write it as FOCUS 1.2 instead, to a .csv or .parquet file.")
    ] = None,
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """Tell what requests cost, dearest first."""
    from pennyweight.cli.billing import Asked, tell_bill

    tell_bill(Asked(by, month, idle_usd_hour, focus), store, json=json)


@app.command()
def requests(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    tenant: Annotated[str, typer.Option(help="Only this tenant's.")] = "",
    model: Annotated[str, typer.Option(help="Only this model's.")] = "",
    since: Annotated[str, typer.Option(help="Not older than this, such as 12h or 7d. Default: all.")] = "",
    last: Annotated[int, typer.Option(help="The last so many; 0: all of them.", min=0)] = 20,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Write all of them to this CSV file.")] = None,
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """List the requests that bills are sums of, newest first: who asked what, what it took and what it cost."""
    from pennyweight.cli.receipts import Asked, tell_requests

    tell_requests(Asked(tenant, model, since, last, output), store, json=json)


@app.command()
def serve(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    models: Models,
    port: Annotated[int, typer.Option(help="The port to listen at.", min=0, max=65535)] = 8000,
    host: Annotated[str, typer.Option(help="The address to listen at; others need a key.")] = "127.0.0.1",
    name: Annotated[list[str] | None, typer.Option(help="A host name that requests may ask under.")] = None,
    workers: Annotated[int, typer.Option(help="How many processes answer, behind one port.", min=1, max=256)] = 1,
    *,
    api: Annotated[
        str, typer.Option(help="openai: every model must speak it. Default: language models that can do.")
    ] = "",
    draft: Annotated[
        str, typer.Option(help="What guesses tokens that are checked several at once: ngram, or a smaller checkpoint.")
    ] = "",
    draft_tokens: Annotated[int, typer.Option(help="How many it guesses at once. Default: as many as pay.")] = 0,
    uncertified: Annotated[
        bool, typer.Option("--uncertified", help="Versions without a certificate may replace certified ones.")
    ] = False,
    watch: Annotated[
        bool, typer.Option("--watch/--no-watch", help="Watch drift, quality and costs, and roll back what broke.")
    ] = True,
    watch_every: Annotated[str, typer.Option(help="How often to look at drift and costs, such as 1h.")] = "1h",
    keep_answers: Annotated[str, typer.Option(help="The share of requests that labels can be told for.")] = "100%",
    otel: Annotated[
        bool, typer.Option("--otel", help="Tell OpenTelemetry of every request: $OTEL_EXPORTER_OTLP_ENDPOINT.")
    ] = False,
    store: Store = "",
    emit: Annotated[
        str, typer.Option(help="Write a deployment instead: kubernetes, ray, compose or systemd.", metavar="TARGET")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Its folder. Default: named by models and target.")
    ] = None,
    slo_ms: Annotated[
        float, typer.Option(help="Milliseconds within which 99 of 100 requests are answered.", min=0)
    ] = 50.0,
    replicas: Annotated[str, typer.Option(help="How many there are at least and at most.")] = "2..10",
    device: Annotated[str, typer.Option(help="What they run on, of the catalog. Default: as this machine.")] = "",
    prices: Annotated[str, typer.Option(help="A price sheet: a name in the catalog, or a CSV or TOML file.")] = "local",
    force: Annotated[bool, typer.Option("--force", help="Write over files of a deployment that are there.")] = False,
) -> None:
    """Answer requests for models of the registry, by the Open Inference Protocol, until a signal says stop.

    A folder, as ./winner.pw or out/, is registered first, under its own name.

    Language models that keep how they read text are also asked by OpenAI's protocol, at /v1.

    Every request is recorded before it is answered, and no budget is overspent. Without any key only this machine may
    ask, as the tenant "local". What an alias stands for is followed within a second, without dropping a request.
    """
    from pennyweight.cli.serving import drafted, named, watching
    from pennyweight.serve.place import Place

    place = Place(
        named(models, store),
        host,
        port,
        store,
        tuple(name or ()),
        uncertified=uncertified,
        watch=watching(watch_every, keep_answers, on=watch),
        api=api,
        otel=otel,
        draft=drafted(draft, draft_tokens, emits=bool(emit)),
    )
    if emit:
        from pennyweight.cli.emitting import Order, tell_emitted

        tell_emitted(place, workers, Order(emit, output, slo_ms, replicas, device, prices, force))
        return
    from pennyweight.cli.serving import tell_serving

    tell_serving(place, workers)


@app.command()
def alerts(
    model: Annotated[str, typer.Argument(metavar="[MODEL]", help="Only this model's. Default: all.")] = "",
    since: Annotated[str, typer.Option(help="Not older than this, such as 12h or 7d. Default: all.")] = "",
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """List what was noticed about served models: drift, a broken floor, canaries that ended, odd costs."""
    from pennyweight.cli.alerting import tell_alerts

    tell_alerts(model, since, store, json=json)


@app.command()
def label(
    file: Annotated[Path, typer.Argument(help="CSV with the columns request and label; row where there are several.")],
    *,
    store: Store = "",
    json: Json = False,
) -> None:
    """Tell what would have been right, by request; the floor is watched by it from then on."""
    from pennyweight.cli.alerting import tell_labelled

    tell_labelled(file, store, json=json)
