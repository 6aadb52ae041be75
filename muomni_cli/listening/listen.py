"""Files to transcripts: the encoder is opened, each file is heard, and what is heard is written where it shall go."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from muomni_cli.core.console import say
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import replacing
from muomni_cli.data.given import media_at, require_one_stdin
from muomni_cli.inference.model import Model
from muomni_cli.listening.transcripts import Write, write_json, write_lines, write_subtitles
from muomni_cli.models.engines import CAN_TRANSCRIBE, open_engine, transcribing

Format = Literal["text", "json", "srt"]
WRITERS = {"text": write_lines, "json": write_json, "srt": write_subtitles}


def listen(
    files: Sequence[str],
    model: str | None,
    *,
    kind: Format,
    beam: int,
    max_seconds: float,
    device: str,
    threads: int | None,
    output: Path | None,
) -> None:
    """Transcribe ``files``.

    Args:
        files: what to hear, ``-`` for stdin; that all can be opened is seen before the first is heard.
        model: which one; see :func:`muomni_cli.models.find.find`.
        kind: what to write.
        beam: texts kept in the search; 0 is greedy.
        max_seconds: longest file.
        device: ``auto``, ``cpu``, ``cuda``, ...
        threads: CPU threads.
        output: the file to write, by rename; stdout if None.

    Raises:
        RequestError: a file cannot be read, or is no sound.
    """
    if kind == "srt" and len(files) > 1:
        raise RequestError("subtitles are written for one file at a time", "name one file with --srt")
    require_one_stdin(files)
    with Model(open_engine(model, CAN_TRANSCRIBE, device=device, threads=threads)) as opened:
        part, _ = transcribing(opened.engine)
        media = [media_at(part.modality, path) for path in files]
        for one in media:
            one.open().close()
        say(f"listening with {opened.engine.source(part.modality)}")
        heard = [(one.name, opened.words_of(one, beam=beam, max_seconds=max_seconds)) for one in media]
        with _written(output) as write:
            WRITERS[kind](heard, write)
    if output is not None:
        say(f"wrote {output}")


@contextmanager
def _written(output: Path | None) -> Iterator[Write]:
    if output is None:
        yield _show
        return
    with replacing(output) as temporary, temporary.open("w", encoding="utf-8") as file:
        yield file.write


def _show(text: str) -> None:
    print(text, end="", flush=True)
