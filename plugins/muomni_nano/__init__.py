"""The plugin: the model nano, and ``muomni samples``, which writes pictures, sounds and prompts to try it with."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muomni_cli.api import ModelFiles, hookimpl

HERE = Path(__file__).resolve().parent
SAMPLES = HERE / "samples"

TRY = (  # in the folder with the samples
    'muomni chat "What do you see and hear?" --image x.png --audio y.wav',
    "muomni listen samples/stop.flac",
    'muomni tts "hello" -o out.wav',
)


def samples(
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Where to write them (default: here).")
    ] = Path(),
    force: Annotated[bool, typer.Option("--force", help="Replace other files of the same names.")] = False,
) -> None:
    """Write sample pictures, sounds and prompts, and print three commands to try with them."""
    from muomni_cli.api import RequestError, console, files

    contents = {path.relative_to(SAMPLES): path.read_bytes() for path in sorted(SAMPLES.rglob("*")) if path.is_file()}
    if not force and output.exists() and not output.is_dir():
        raise RequestError(f"{output} is a file, not a folder", "name a folder: -o FOLDER")
    for name, content in contents.items():
        path = output / name
        if not force and path.exists() and not (path.is_file() and path.read_bytes() == content):
            raise RequestError(f"{path} already exists and is not the sample", "use -o FOLDER, or replace it: --force")
    for name, content in contents.items():
        files.write_bytes(output / name, content)
        console.say(f"wrote {output / name}")
    console.say("try:" if output == Path() else f"try: cd {output}, then")
    print("\n".join(TRY))


@hookimpl
def register_models() -> list[ModelFiles]:
    """Its card, README.md, describes its data and scores."""
    return [
        ModelFiles(
            name="nano",
            doc="sees drawn scenes, hears words and short commands, writes and speaks",
            bundle=HERE / "bundle",
            run=HERE / "run",
            card=HERE / "README.md",
            scores=HERE / "scores.json",
            license="Apache-2.0",
        )
    ]


@hookimpl
def register_commands(cli: typer.Typer) -> None:
    cli.command()(samples)
