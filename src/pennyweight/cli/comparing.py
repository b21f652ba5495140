"""The command `compare`; the work is imported when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

Texts = Annotated[
    list[Path], typer.Option("--text", help='Text to score; of a .jsonl file the "text" of each line. Repeatable.')
]
Tasks = Annotated[
    Path | None, typer.Option("--tasks", help="Questions (JSONL), also samples of lm-evaluation-harness.")
]

_NOT_CERTIFIED = 3


@app.command()
def compare(  # ruff: ignore[too-many-arguments] - one parameter per option is how this library reads a command line
    first: Annotated[
        Path, typer.Argument(metavar="DIR", help="A language model: config.json, safetensors, tokenizer.")
    ],
    second: Annotated[Path, typer.Argument(metavar="OTHER", help="The one that is to be as good.")],
    *,
    text: Texts,
    tasks: Tasks = None,
    retrieve: Annotated[
        str | None, typer.Option(help="Also hide numbers in so many tokens and look for them: 512,2048.")
    ] = None,
    give_up: Annotated[str, typer.Option("--give-up", help="By how much perplexity may rise, such as 1%.")] = "1%",
    give_up_tasks: Annotated[
        str, typer.Option("--give-up-tasks", help="How many points of right answers may be lost, such as 5%.")
    ] = "5%",
    sure: Annotated[str, typer.Option(help="How sure one must be that each floor holds, such as 95%.")] = "95%",
    window: Annotated[
        int | None, typer.Option(help="Tokens read at a time. Default: what both models can, up to 1024.", min=2)
    ] = None,
    stride: Annotated[int | None, typer.Option(help="By how many a window moves on. Default: half.", min=1)] = None,
    most: Annotated[int | None, typer.Option("--max-tokens", help="Score no more of the text.", min=2)] = None,
    by_length: Annotated[
        bool, typer.Option("--by-length", help="Of choices, the likeliest per byte is the answer.")
    ] = False,
    dtype: Annotated[str, typer.Option(help="Compute in float32, bfloat16 or float16.")] = "float32",
    together: Annotated[
        bool | None, typer.Option("--together/--apart", help="Hold both models at once, or not. Default: if they fit.")
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on standard output instead of tables.")
    ] = False,
) -> None:
    """Certify that one language model's checkpoint is no worse than another's by more than was given up.

    Perplexity and bits per byte, divergence, right answers, numbers found in a long context. Exit code 0 if every floor
    is certified, 3 if one is not.
    """
    from pennyweight.cli.compared import Wish, tell_comparison

    wish = Wish(tuple(text), tasks, retrieve, (give_up, give_up_tasks, sure), (window, stride, most))
    asked = wish.asked(by_length=by_length, dtype=dtype, together=together)
    if not tell_comparison(first, second, asked, json=json):
        raise typer.Exit(_NOT_CERTIFIED)
