"""Commands on stored data: `pack` and `unpack`; the work is imported when one runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")]


Source = Annotated[
    Path,
    typer.Argument(
        metavar="SOURCE",
        help="A recipe (.py), a .csv, .parquet, .npz or .txt file, or a folder of tables or of pictures by class.",
    ),
]
To = Annotated[str, typer.Option("-o", "--output", help="Where to: a new folder, or a URL that fsspec knows.")]


@app.command()
def pack(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    given: Source,
    to: To,
    *,
    data: Annotated[Path | None, typer.Option("--data", help="Folder or file the recipe reads its data from.")] = None,
    target: Annotated[str | None, typer.Option(help="The column of a table that is the answer.")] = None,
    drop: Annotated[list[str] | None, typer.Option(help="A column of a table to leave out; may be repeated.")] = None,
    codec: Annotated[str, typer.Option(help="How to compress: zstd, lz4, snappy, gzip or none.")] = "zstd",
    shard: Annotated[str, typer.Option(help="The size of a shard before compression.")] = "64MB",
    json: Json = False,
) -> None:
    """Store data packed: Parquet shards (text: token shards) with a checksum each, bit for bit what it was.

    Cut off, it goes on where it was when it is run again.
    """
    from pennyweight.cli.packed import Wish, tell_packing

    tell_packing(given, to, Wish(data, target, tuple(drop or ()), codec, shard), json=json)


@app.command()
def unpack(
    packed: Annotated[str, typer.Argument(help="A folder or URL that pack has written.")],
    to: Annotated[
        Path | None, typer.Option("-o", "--output", help="The file to write: .npz, .csv (a table) or .txt (a text).")
    ] = None,
    *,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; read every shard and check it.")] = False,
    json: Json = False,
) -> None:
    """Write packed data as one file again, or check that every shard of it is whole.

    Exit code 5 if a shard is not, after naming it.
    """
    from pennyweight.cli.packed import tell_unpacking

    tell_unpacking(packed, to, check=check, json=json)
