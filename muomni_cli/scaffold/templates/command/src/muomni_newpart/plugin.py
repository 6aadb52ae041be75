"""Registers the command. Every command imports this module, so it must not import slow packages."""

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.api import hookimpl


def count(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A text file.")],
    most: Annotated[int, typer.Option(min=1, help="Number of words to print.")] = 10,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the words of a text."""
    from muomni_newpart.counting import words_of

    common = words_of(path).most_common(most)
    print(dumps(dict(common), ensure_ascii=False) if json else "\n".join(f"{count:6} {word}" for word, count in common))


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    """Add `muomni newpart`. For a group of commands use ``cli.add_typer``."""
    cli.command("newpart")(count)
