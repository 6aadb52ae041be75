"""Small sample files in the layouts of others, for conformance checks (``DatasetPart.sample``)."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile  # type: ignore[import-untyped]

from muomni_datasets.samples import pictures

Settings = Mapping[str, Any]
TEXTS = ("The hen laid an egg.", "A fox came by.", "Nobody was at home.", "The fox went on.")


def csv_table(folder: Path) -> Settings:
    pictures(folder)
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    rows = [f'{name},"All of it is {name.partition("/")[0]}, as you see."' for name in names]
    (folder / "list.csv").write_text("\n".join(["file_name,text", *rows]) + "\n", encoding="utf-8")
    return {"path": str(folder / "list.csv"), "modality": "image"}


def ljspeech(folder: Path) -> Settings:
    for number in range(len(TEXTS)):
        _sound(folder / "wavs" / f"LJ001-{number:04}.wav", number)
    rows = [f"LJ001-{number:04}|{text}|{text}" for number, text in enumerate(TEXTS)]
    (folder / "metadata.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"path": str(folder)}


def common_voice(folder: Path) -> Settings:
    for number in range(len(TEXTS)):
        _sound(folder / "clips" / f"common_voice_en_{number}.wav", number)
    rows = [f"speaker{number}\tcommon_voice_en_{number}.wav\t{text}\ten" for number, text in enumerate(TEXTS)]
    for name, part in (("train", rows[:3]), ("dev", rows[3:])):
        text = "\n".join(["client_id\tpath\tsentence\tlocale", *part]) + "\n"
        (folder / f"{name}.tsv").write_text(text, encoding="utf-8")
    return {"path": str(folder)}


def librispeech(folder: Path) -> Settings:
    chapter = folder / "19" / "198"
    for number in range(len(TEXTS)):
        _sound(chapter / f"19-198-{number:04}.flac", number)
    rows = [f"19-198-{number:04} {text.upper()}" for number, text in enumerate(TEXTS)]
    (chapter / "19-198.trans.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return {"path": str(folder)}


def coco_captions(folder: Path) -> Settings:
    (folder / "val").mkdir()
    pictures(folder / "val")
    names = sorted(path.relative_to(folder / "val").as_posix() for path in (folder / "val").rglob("*.png"))
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    captions = [
        {"id": 2 * number + again, "image_id": number, "caption": f"{say} {name.partition('/')[0]}."}
        for number, name in enumerate(names)
        for again, say in enumerate(("All of it is", "A square in"))
    ]
    (folder / "annotations").mkdir()
    content = json.dumps({"images": images, "annotations": captions})
    (folder / "annotations" / "captions_val.json").write_text(content, encoding="utf-8")
    return {"path": str(folder / "annotations")}


def webdataset(folder: Path) -> Settings:
    aside = folder / "aside"
    aside.mkdir()
    pictures(aside)
    with tarfile.open(folder / "shard-000.tar", "w") as tar:
        for number, path in enumerate(sorted(aside.rglob("*.png"))):
            label = path.parent.name
            about = json.dumps({"caption": f"All of it is {label}.", "label": label}).encode()
            for field, content in (("png", path.read_bytes()), ("json", about)):
                member = tarfile.TarInfo(f"{number:06}.{field}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    for path in sorted(aside.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    aside.rmdir()
    return {"path": str(folder)}


def hugging_face(folder: Path) -> Settings:
    import datasets

    shows = datasets.utils.logging.is_progress_bar_enabled()
    datasets.disable_progress_bars()
    datasets.Dataset.from_dict({"text": list(TEXTS)}).save_to_disk(folder)
    if shows:
        datasets.enable_progress_bars()
    return {"path": str(folder)}


def _sound(path: Path, number: int) -> None:
    """A tone of 100 ms, mono, 16 kHz."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.3 * np.sin(2 * np.pi * (300 + 50 * number) * np.arange(1_600) / 16_000)
    soundfile.write(path, wave.astype(np.float32), 16_000)
