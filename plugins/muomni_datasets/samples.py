"""Small sample files for conformance checks of sources that read files (``DatasetPart.sample``)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from muomni_datasets.pictures_config import STYLES
from muomni_datasets.thing_names import thing_names

Settings = Mapping[str, Any]
COLORS = {"red": (200, 30, 20), "blue": (20, 40, 210)}


def text(folder: Path) -> Settings:
    (folder / "one.txt").write_text("A hen laid an egg.\nIt was blue.\n\nA fox came by.\n", encoding="utf-8")
    (folder / "two.txt").write_text("Nobody was at home.\n\nThe fox went on.\n", encoding="utf-8")
    return {"path": str(folder)}


def json_lines(folder: Path) -> Settings:
    _write_lines(folder / "texts.jsonl", [{"text": f"The hen laid egg number {number}."} for number in range(6)])
    return {"path": str(folder)}


def parquet(folder: Path) -> Settings:
    import pyarrow
    from pyarrow import parquet as files

    texts = [f"The hen laid egg number {number}." for number in range(6)]
    files.write_table(pyarrow.table({"text": texts}), folder / "texts.parquet", row_group_size=2)
    return {"path": str(folder)}


def conversations(folder: Path) -> Settings:
    _picture("red").save(folder / "hen.png")
    asked = [
        [{"role": "user", "content": "Who laid it?"}, {"role": "assistant", "content": f"Hen {number}."}]
        for number in range(3)
    ]
    shown = {"role": "user", "content": "Which colour?", "image": "hen.png"}
    asked.append([shown, {"role": "assistant", "content": "Red."}])
    _write_lines(folder / "asked.jsonl", [{"messages": messages} for messages in asked])
    (folder / "said.txt").write_text("U: Hello.\nA: Good day.\n\nU: Who is it?\nA: The fox.\n", encoding="utf-8")
    return {"path": str(folder)}


def preferences(folder: Path) -> Settings:
    pairs: list[dict[str, Any]] = [
        {"prompt": f"Who laid egg {number}?", "chosen": f"Hen {number}.", "rejected": "The fox."} for number in range(4)
    ]
    pairs.append({"text": "A hen.", "chosen": [[1, 2], [3, 4]], "rejected": [[1, 2], [3, 5]]})
    _write_lines(folder / "pairs.jsonl", pairs)
    return {"path": str(folder)}


def manifest(folder: Path) -> Settings:
    pictures(folder)
    labels = {name: name.partition("/")[0] for name, _ in _pictures()}
    listed = [{"image": name, "text": f"All of it is {label}.", "label": label} for name, label in labels.items()]
    _write_lines(folder / "list.jsonl", listed)
    return {"path": str(folder / "list.jsonl")}


def pictures(folder: Path) -> Settings:
    for name, content in _pictures():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return {"path": str(folder)}


def archive(folder: Path) -> Settings:
    with tarfile.open(folder / "pictures.tar", "w") as tar:
        for name, content in _pictures():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return {"path": str(folder / "pictures.tar")}


def idx(folder: Path) -> Settings:
    count, side = 6, 4
    sizes = b"".join(size.to_bytes(4, "big") for size in (count, side, side))
    (folder / "images").write_bytes(b"\0\0\x08\x03" + sizes + bytes(range(count * side * side)))
    (folder / "labels").write_bytes(b"\0\0\x08\x01" + count.to_bytes(4, "big") + bytes(n % 2 for n in range(count)))
    return {"images": str(folder / "images"), "labels": str(folder / "labels")}


def things(folder: Path) -> Settings:
    """Every icon is a disc."""
    disc, file = Image.new("RGBA", (32, 32)), io.BytesIO()
    ImageDraw.Draw(disc).ellipse([2, 2, 30, 30], fill=COLORS["red"])
    disc.save(file, "PNG")
    names = thing_names()
    every = [emoji for thing in names.things.values() for emoji in thing.emoji]
    with tarfile.open(folder / "things.tar", "w") as tar:
        for emoji in [*every, *names.unknown, *names.held]:
            for style in STYLES:
                member = tarfile.TarInfo(f"{style}/{emoji}.png")
                member.size = len(file.getvalue())
                tar.addfile(member, io.BytesIO(file.getvalue()))
    return {"path": str(folder / "things.tar"), "count": 20}


def _pictures() -> Iterator[tuple[str, bytes]]:
    """Names and PNG bytes of three pictures of each class."""
    for color in COLORS:
        for number in range(3):
            file = io.BytesIO()
            _picture(color, 8 + number).save(file, "PNG")
            yield f"{color}/{number}.png", file.getvalue()


def _picture(color: str, side: int = 8) -> Image.Image:
    return Image.new("RGB", (side, side), COLORS[color])


def _write_lines(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
