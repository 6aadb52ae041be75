"""Damaged, foreign and random inputs of every kind: an answer, or two lines that say what is wrong; nothing else.

    python -m tests.faults.fuzz --count 100000 --seed 0

An input is one of the files that muomni reads (pictures, sounds, recipes, rows of data) with bytes changed, cut out,
repeated or exchanged, or a text or an array made at random. It fails if anything but a
:class:`muomni_cli.RequestError` or :class:`muomni_cli.MuomniError` of two lines is raised, if a C library prints to
stderr, or if it takes more than ten seconds.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import random
import re
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from PIL import Image

from muomni_cli import Model, MuomniError, load
from tests.faults.small import RECIPE, tones
from tests.tiny_model import Whole, make_whole

LONGEST = 10.0
"""Seconds that one input may take."""
INTERESTING = (
    b"\0",
    b"\xff" * 4,
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"-1",
    b"1e999",
    b"nan",
    b"{",
    b"]",
    b'"',
    b"\r\n",
)


@dataclass(slots=True)
class Report:
    """How many inputs of each kind were taken and refused, and which did neither."""

    counts: Counter[str] = field(default_factory=Counter)
    slowest: dict[str, float] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, object]:
        return {
            "inputs": sum(self.counts.values()),
            "by kind": dict(sorted(self.counts.items())),
            "slowest of each kind, seconds": {kind: round(took, 2) for kind, took in sorted(self.slowest.items())},
            "faults": self.faults,
        }


def damaged(content: bytes, draw: random.Random) -> bytes:
    """``content`` with one to eight changes."""
    found = bytearray(content)
    for _ in range(draw.choice([1, 1, 2, 4, 8])):
        at = draw.randrange(len(found) + 1)
        length = draw.choice([1, 1, 2, 4, 16, 256])
        part = bytes(found[at : at + length])
        found[at : at + length] = draw.choice(
            [
                b"",
                part * draw.choice([2, 3, 50]),
                draw.randbytes(len(part)),
                bytes(byte ^ (1 << draw.randrange(8)) for byte in part),
                draw.choice(INTERESTING),
                bytes(found[: draw.randrange(1 + min(len(found), 64))]),
            ]
        )
        if draw.random() < 0.05:
            del found[draw.randrange(len(found) + 1) :]
    return bytes(found)


def pictures() -> list[bytes]:
    """A small picture in every format and mode that is read."""
    noise = Image.effect_noise((40, 30), 80)
    found = []
    for mode, form, *compression in [
        ("RGB", "PNG"), ("RGBA", "PNG"), ("P", "PNG"), ("I;16", "PNG"), ("L", "PNG"), ("1", "PNG"), ("RGB", "JPEG"),
        ("CMYK", "JPEG"), ("L", "JPEG"), ("P", "GIF"), ("RGB", "BMP"), ("RGB", "WEBP"), ("RGB", "TIFF"), ("F", "TIFF"),
        ("RGB", "PPM"), ("RGB", "TGA"), ("LA", "PNG"), ("RGB", "JPEG2000"), ("RGB", "AVIF"), ("RGB", "ICO"),
        ("RGB", "TIFF", "tiff_lzw"), ("RGB", "TIFF", "jpeg"), ("1", "TIFF", "group4"), ("CMYK", "TIFF", "packbits"),
        ("RGB", "TIFF", "tiff_adobe_deflate"), ("I;16", "TIFF", "tiff_lzw"),
    ]:  # fmt: skip
        held = io.BytesIO()
        noise.convert(mode).save(held, form, **({"compression": compression[0]} if compression else {}))
        found.append(held.getvalue())
    return found


def sounds() -> list[bytes]:
    """A short sound in every container that is read."""
    wave = tones("abc").astype(np.float32)
    found = []
    for form, subtype in [
        ("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("RF64", "PCM_16"),
        ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("FLAC", "PCM_16"),
        ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("WAV", "PCM_32"), ("WAVEX", "PCM_16"),
        ("WAV", "IMA_ADPCM"), ("W64", "GSM610"), ("AIFF", "FLOAT"), ("CAF", "ALAC_16"), ("SVX", "PCM_16"),
        ("NIST", "PCM_16"), ("VOC", "PCM_16"),
    ]:  # fmt: skip
        held = io.BytesIO()
        soundfile.write(held, np.stack([wave, wave / 2], 1) if form == "WAV" else wave, 16000, subtype, format=form)
        found.append(held.getvalue())
    return found


def rows() -> list[bytes]:
    """Rows of a data file, of each layout."""
    turns = [{"role": "user", "content": "What is it?"}, {"role": "assistant", "content": "It is red."}]
    return [
        b"".join(json.dumps(row).encode() + b"\n" for row in [content] * 8)
        for content in (
            {"text": "Once upon a time there was a fox."},
            {"messages": turns},
            {"messages": [{**turns[0], "image": "missing.png"}, turns[1]]},
        )
    ]


def text(draw: random.Random) -> str:
    """Characters of all planes, with words, digits, marks and controls among them."""
    alphabets = (
        lambda: chr(draw.randrange(32, 127)),
        lambda: chr(
            draw.choice([0, 7, 9, 10, 13, 27, 0x7F, 0x85, 0xAD, 0x200B, 0x202E, 0xFEFF, 0xFFFD, 0xFFFF, 0xD800])
        ),
        lambda: chr(draw.randrange(0x10FFFF)),
        lambda: draw.choice(
            ["Hello ", "1,234.5 ", "€2 ", "Dr. ", "<|user|>", "<break/>", "🙂", "A.B.C. ", "2e10 ", "://", "\u0301"]
        ),
    )
    return "".join(draw.choice(alphabets)() for _ in range(draw.choice([0, 1, 2, 5, 20, 60])))


def array(draw: random.Random) -> Any:
    """What a caller may take for samples with their rate."""
    kind = draw.choice(
        ["float32", "float64", "int16", "int32", "int64", "uint8", "bool", "complex64", "object", "float16"]
    )
    shape = draw.choice([(), (0,), (1,), (1600,), (1, 1600), (1600, 1), (2, 1600), (1600, 2), (3, 4, 5)])
    values = np.random.default_rng(draw.randrange(2**32)).standard_normal(shape) * draw.choice(
        [0, 1e-9, 0.1, 1, 1e3, 1e9, 1e300]
    )
    with np.errstate(all="ignore"):
        samples = np.asarray(values).astype(kind)
    if samples.size and draw.random() < 0.2 and samples.dtype.kind == "f":
        samples.flat[0] = draw.choice([np.nan, np.inf, -np.inf])
    rate = draw.choice([16000, 8000, 44100, 16000.0, 1, 0, -1, None, float("nan"), float("inf"), 10**12, "16000", 2.5])
    return draw.choice([(samples, rate), (samples, rate), samples, (samples,), (rate, samples), samples.tolist(), None])


class Fuzzer:
    """One model, and the inputs that it is given."""

    def __init__(self, whole: Whole, folder: Path) -> None:
        self.model: Model = load(whole.bundle, threads=1)
        self.folder = folder
        self.report = Report()
        seeds = {"picture": pictures(), "sound": sounds(), "recipe": [RECIPE.encode()], "row": rows()}
        readers: dict[str, Callable[[bytes], object]] = {
            "picture": lambda content: self.model.encode("image", content),
            "sound": self.model.transcribe,
            "recipe": self._recipe,
            "row": self._rows,
        }
        self.kinds: dict[str, Callable[[random.Random], object]] = {
            kind: lambda draw, kind=kind: readers[kind](damaged(draw.choice(seeds[kind]), draw)) for kind in seeds
        } | {
            "prompt": lambda draw: self.model.chat(text(draw), max_tokens=2, seed=draw.randrange(9)),
            "speech": lambda draw: self.model.speak(text(draw)[:12], speed=draw.choice([1.0, 1.0, 0.5, 2, 0, -1, 9e9])),
            "array": lambda draw: self.model.transcribe(array(draw)),
        }

    def _recipe(self, content: bytes) -> None:
        from muomni_cli.recipe.load import load_recipe

        path = self.folder / "fuzzed.toml"
        path.write_bytes(content)
        load_recipe(str(path))

    def _rows(self, content: bytes) -> None:
        from muomni_cli.registry.registry import get_registry, resolve

        path = self.folder / "fuzzed.jsonl"
        path.write_bytes(content)
        for use in ("jsonl", "conversations", "text", "manifest"):
            part = get_registry().get("dataset", use).part
            source = resolve(part.build)(part.config.model_validate({"path": str(path)}))
            items = list(source.documents())
            if use in ("jsonl", "conversations"):  # every line is an item, or it is told
                told = "; ".join(source.unreadable.values())
                noted = bool(told) + told.count("; ") + sum(map(int, re.findall(r", and (\d+) more", told)))
                assert len(items) + noted == written(content), f"{use}: {len(items)} items, {noted} notes"

    def run(self, count: int, seed: int) -> Iterator[Report]:
        """Give ``count`` inputs, of all kinds in turn; the report after each thousand."""
        kinds = list(self.kinds)
        for number in range(count):
            self._one(kinds[number % len(kinds)], f"{seed} {number}")
            if number % 1000 == 999:
                yield self.report
        yield self.report

    def _one(self, kind: str, seed: str) -> None:
        begun = time.monotonic()
        with printed() as told:
            try:
                self.kinds[kind](random.Random(seed))
                outcome = "taken"
            except MuomniError as error:
                outcome = "refused"
                what = error.what.replace("\n  ", "") if kind == "recipe" else error.what  # a line for each mistake
                if not what or not error.fix or "\n" in what + error.fix:
                    self.report.faults.append(f"{kind}, seed {seed!r}: not two lines: {error.what!r} {error.fix!r}")
            except Exception as error:
                outcome = "fault"
                self.report.faults.append(f"{kind}, seed {seed!r}: {type(error).__name__}: {str(error)[:200]}")
        took = time.monotonic() - begun
        self.report.counts[f"{kind}, {outcome}"] += 1
        self.report.slowest[kind] = max(self.report.slowest.get(kind, 0.0), took)
        if took > LONGEST:
            self.report.faults.append(f"{kind}, seed {seed!r}: took {took:.1f} s")
        if told:
            self.report.faults.append(f"{kind}, seed {seed!r}: a library printed {told[0][:200]!r}")


def written(content: bytes) -> int:
    """Number of lines that are not blank."""
    lines = [line.decode(errors="replace") for line in content.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
    return sum(bool(line) and not line.isspace() for line in lines)


@contextmanager
def printed() -> Iterator[list[bytes]]:
    """What is written to the file descriptor of stderr meanwhile, by whichever library."""
    found: list[bytes] = []
    kept = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        try:
            yield found
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            file.seek(0)
            if content := file.read():
                found.append(content)


def main() -> int:
    parser = argparse.ArgumentParser(description="give muomni damaged and random inputs")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="KIND", help="one kind of input")
    chosen = parser.parse_args()
    warnings.simplefilter("error")
    logging.basicConfig(handlers=[logging.NullHandler()])  # what is left out of a text is logged, which is no fault
    report = Report()
    with tempfile.TemporaryDirectory() as folder:
        with redirect_stdout(sys.stderr):  # stdout has the report alone
            fuzzer = Fuzzer(make_whole(Path(folder)), Path(folder))
        if chosen.only:
            fuzzer.kinds = {chosen.only: fuzzer.kinds[chosen.only]}
        for report in fuzzer.run(chosen.count, chosen.seed):
            print(f"{sum(report.counts.values())} inputs, {len(report.faults)} faults", file=sys.stderr)
    print(json.dumps(report.as_dict(), indent=2))
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
