"""A corpus of speech in a teacher's voice: sentences of text files to sound files, and a list. Knows no teacher.

A sound is named by its text and who says it, so whatever was made before is kept and only what lacks is made. The list
appears last, by rename: where it is, the corpus is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import soundfile  # type: ignore[import-untyped]

from muomni_cli.core.console import duration
from muomni_cli.core.errors import RequestError
from muomni_cli.core.files import open_regular, replacing, write_text
from muomni_cli.core.sentences import cut_sentences
from muomni_cli.speaking.teachers import Speaker

LIST = "speech.jsonl"
SOUNDS = "audio"

AT_ONCE = 64
"""Sentences that are handed to the teacher before the first of them is waited for."""

TOLD = 5.0
"""Seconds between two lines of progress."""

Format = Literal["wav", "flac"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """What was written: the list, its sentences, how many of them were made now, their seconds, and how many texts the
    teacher could not say."""

    path: Path
    sentences: int
    made: int
    seconds: float
    left_out: int


def texts_of(files: Sequence[Path], words: tuple[int, int], limit: int, *, cut: bool = True) -> list[str]:
    """Different sentences of running text, in order; the first ``limit`` of them unless it is 0.

    Args:
        files: UTF-8.
        words: fewest and most in a sentence.
        cut: into sentences; else every line is one, however it is written.
        limit: most sentences.

    Raises:
        RequestError: a file cannot be read, or there is no sentence.
    """
    found = list(islice(_different(files, words, cut), limit or None))
    if not found:
        what = "English sentence" if cut else "line"
        raise RequestError(
            f"no {what} of {words[0]} to {words[1]} words in {', '.join(map(str, files))}",
            "change --min-words and --max-words, or give text of whole sentences, or --lines",
        )
    return found


def _different(files: Sequence[Path], words: tuple[int, int], cut: bool) -> Iterator[str]:
    seen: set[str] = set()
    for file in files:
        with open_regular(file) as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace") as lines:
            for text in cut_sentences(lines, *words) if cut else _lines(lines, *words):
                if text not in seen:
                    seen.add(text)
                    yield text


def _lines(lines: Iterable[str], min_words: int, max_words: int) -> Iterator[str]:
    for line in lines:
        words = line.split()
        if min_words <= len(words) <= max_words:
            yield " ".join(words)


def speak(
    texts: Sequence[str],
    speaker: Speaker,
    folder: Path,
    *,
    form: Format,
    progress: Callable[[str], None],
) -> Corpus:
    """Make (what lacks of) a corpus.

    Args:
        texts: different ones.
        speaker: says them.
        folder: where to; made if it is not there.
        form: of the sounds.
        progress: told how far it is.

    Raises:
        RequestError: the teacher could say none of them.
        MuomniError: nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"{folder} is a file, not a folder", "name another folder: -o FOLDER")
    begin = told = time.monotonic()
    rows: list[str] = []
    made, seconds, refused = 0, 0.0, None
    for done, result in enumerate(_all_said(texts, speaker, folder, form), start=1):
        if isinstance(result, RequestError):
            refused = refused or result
        else:
            rows.append(json.dumps(result.row, ensure_ascii=False))
            made, seconds = made + result.made, seconds + result.seconds
        if time.monotonic() > told + TOLD:
            told = time.monotonic()
            rate = done / (told - begin)
            left = duration((len(texts) - done) / rate)
            progress(f"speaking: {done:,} of {len(texts):,}, {rate:,.0f} a second, {left} left")
    if refused is not None:
        progress(f"warning: {len(texts) - len(rows):,} sentences were not said: {refused.what}")
        if not rows:
            raise refused
    write_text(folder / LIST, "".join(f"{row}\n" for row in rows))
    return Corpus(folder / LIST, len(rows), made, seconds, len(texts) - len(rows))


@dataclass(frozen=True, slots=True)
class _Said:
    row: dict[str, str]
    made: bool
    seconds: float


def _all_said(texts: Sequence[str], speaker: Speaker, folder: Path, form: Format) -> Iterator[_Said | RequestError]:
    def said(text: str) -> _Said | RequestError:
        try:
            return _said(text, speaker, folder, form)
        except RequestError as error:
            return error

    pool = ThreadPoolExecutor(speaker.at_once)
    try:
        for begin in range(0, len(texts), AT_ONCE):
            yield from pool.map(said, texts[begin : begin + AT_ONCE])
    finally:
        pool.shutdown(cancel_futures=True)


def _said(text: str, speaker: Speaker, folder: Path, form: Format) -> _Said:
    teacher = speaker.teacher
    digest = hashlib.blake2b(f"{speaker.name}\0{teacher.voice}\0{text}".encode(), digest_size=8).hexdigest()
    name = f"{SOUNDS}/{digest}.{form}"
    path = folder / name
    made = not path.is_file()
    if made:
        sound = teacher.say(text)
        with replacing(path) as temporary:
            if form == "wav":
                temporary.write_bytes(sound)
            else:
                samples, rate = soundfile.read(io.BytesIO(sound), dtype="int16")
                soundfile.write(temporary, samples, rate, format=form.upper())
    row = {SOUNDS: name, "text": text, "key": text, "voice": teacher.voice}
    return _Said(row, made, float(soundfile.info(path).duration))
