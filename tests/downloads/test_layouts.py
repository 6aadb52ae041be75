"""What is downloaded becomes what recipes read: the same samples, names and texts, whatever lies beside them."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from muomni_cli.api import Example
from muomni_cli.audio.dsp import resample
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.registry import resolve
from muomni_datasets import archive_layouts, public_datasets
from muomni_datasets.archives import Tar
from muomni_datasets.config import TarConfig

Pack = Callable[..., Path]


def wave(seed: int, length: int) -> NDArray[np.int16]:
    return (np.random.default_rng(seed).normal(size=length) * 3000).astype(np.int16)


def sound(samples: NDArray[np.int16], rate: int, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=form, subtype="PCM_16")
    return file.getvalue()


@pytest.fixture
def pack(tmp_path: Path) -> Pack:
    """``pack("x.tar.gz", {name: content})``."""

    def make(name: str, members: dict[str, bytes]) -> Path:
        with tarfile.open(tmp_path / name, f"w:{name.rpartition('.')[2]}") as archive:
            for member, content in members.items():
                info = tarfile.TarInfo(member)
                info.size, info.mtime, info.uname = len(content), 12345, "somebody"
                archive.addfile(info, io.BytesIO(content))
        return tmp_path / name

    return make


def laid_out(layout: str, archive: Path) -> Path:
    target, read = archive.with_name("out.tar"), list[int]()
    getattr(archive_layouts, layout)([archive], [target], read.append)
    assert sum(read) == archive.stat().st_size
    return target


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path, "r:") as tar:
        infos = tar.getmembers()
        assert all((info.mtime, info.uname, info.uid) == (0, "", 0) for info in infos)
        return {info.name: tar.extractfile(info).read() for info in infos}  # type: ignore[union-attr]


def examples(path: Path, **settings: object) -> list[Example]:
    source = Tar(TarConfig.model_validate({"path": str(path), **settings}))
    found = list(source.documents())
    assert source.unreadable == {}
    return found


def test_speech_commands(pack: Pack) -> None:
    clips = {"yes/00aa_nohash_0": wave(0, 16000), "yes/00aa_nohash_1": wave(1, 15000), "marvin/4b_nohash_0": wave(2, 9)}
    rest = {"./README.md": b"x", "./_background_noise_/rain.wav": sound(wave(3, 99), 16000)}
    archive = pack("a.tar.gz", {f"./{name}.wav": sound(samples, 16000) for name, samples in clips.items()} | rest)
    made = members(path := laid_out("speech_commands", archive))
    assert made.pop("manifest.tsv").decode().splitlines() == [
        "path\ttext\tspeaker\tseconds",
        "yes/00aa_nohash_0.flac\tyes\t00aa\t1.000",
        "yes/00aa_nohash_1.flac\tyes\t00aa\t0.938",
        "marvin/4b_nohash_0.flac\tmarvin\t4b\t0.001",
    ]
    assert made.keys() == {f"{name}.flac" for name in clips}
    for name, content in made.items():
        samples, rate = soundfile.read(io.BytesIO(content), dtype="int16")
        assert (rate, samples.tolist()) == (16000, clips[name.removesuffix(".flac")].tolist())
    settings = load_recipe("hearing").data.sources["audio"][0].config
    told = examples(path, name=settings.name, labels=settings.labels)  # type: ignore[attr-defined]
    assert [(one.label, one.key) for one in told] == [("yes", "00aa")] * 2


def test_fsdd(pack: Pack) -> None:
    top = "free-spoken-digit-dataset-1.0.9"
    clips = {f"{top}/recordings/7_theo_3.wav": sound(wave(0, 4000), 8000), f"{top}/a.wav": b"none"}
    made = members(path := laid_out("fsdd", pack("a.tar.gz", clips)))
    assert made["manifest.tsv"].decode().splitlines()[1] == "7_theo_3.flac\tseven\ttheo\t0.500"
    settings = load_recipe("hearing").data.sources["audio"][3].config
    told = examples(path, name=settings.name, names=settings.names, holdout=settings.holdout)  # type: ignore[attr-defined]
    assert [(one.label, one.key, one.split) for one in told] == [("seven", "theo", "val")]


@pytest.mark.parametrize("metadata_first", [True, False])
def test_ljspeech(pack: Pack, *, metadata_first: bool) -> None:
    rows = "LJ001-0001|In 1455|In fourteen fifty-five\nLJ002-0161|Then.|Then.\n"
    table = {"LJSpeech-1.1/metadata.csv": rows.encode()}
    sounds = {f"LJSpeech-1.1/wavs/{name}.wav": sound(wave(0, 22050), 22050) for name in ("LJ001-0001", "LJ002-0161")}
    archive = pack("a.tar.bz2", table | sounds if metadata_first else sounds | table)
    told = examples(laid_out("ljspeech", archive), captions="manifest.tsv")
    assert [one.text for one in told] == ["In fourteen fifty-five", "Then."]
    made = members(laid_out("ljspeech_part", archive))
    assert made.keys() == {"LJ001-0001.flac", "manifest.tsv"}
    samples, rate = soundfile.read(io.BytesIO(made["LJ001-0001.flac"]), dtype="float32")
    wanted = resample(wave(0, 22050).astype(np.float32) / 32768, 22050, 16000)
    assert (rate, len(samples)) == (16000, 16000)
    assert np.abs(samples - wanted).max() <= 1 / 32768


def test_librispeech(pack: Pack) -> None:
    folder = "LibriSpeech/dev-clean/84/121123"
    clip = sound(wave(0, 8000), 16000, "FLAC")
    archive = pack(
        "a.tar.gz",
        {
            "LibriSpeech/SPEAKERS.TXT": b"x",
            f"{folder}/84-121123-0000.flac": clip,
            f"{folder}/84-121123.trans.txt": b"84-121123-0000 GO DO YOU HEAR\n",
        },
    )
    path = laid_out("librispeech", archive)
    assert members(path)["84/121123/84-121123-0000.flac"] == clip
    (told,) = examples(path, captions="manifest.tsv", name=r"(?:^|/)(?P<key>\d+)-\d+-\d+")
    assert (told.text, told.key) == ("go do you hear", "84")


@pytest.mark.parametrize(
    ("layout", "content", "message"),
    [
        ("speech_commands", {"README.md": b"x"}, "no clips"),
        ("speech_commands", {"yes/00_nohash_0.wav": b"no sound"}, "no clip .* yes/00_nohash_0.wav is not a readable"),
        ("speech_commands", {"yes/00_nohash_0.wav": b""}, "impossible size"),
        ("ljspeech", {"wavs/LJ001-0001.wav": sound(wave(0, 99), 22050)}, "LJ001-0001.flac has no text"),
    ],
)
def test_what_is_not_as_expected_is_told(layout: str, content: dict[str, bytes], message: str, pack: Pack) -> None:
    with pytest.raises(ValueError, match=message):
        laid_out(layout, pack("a.tar.gz", content))


def test_a_cut_archive_is_told(pack: Pack) -> None:
    archive = pack("a.tar.gz", {f"yes/{i:02x}_nohash_0.wav": sound(wave(i, 16000), 16000) for i in range(20)})
    archive.write_bytes(archive.read_bytes()[:200_000])
    with pytest.raises((EOFError, tarfile.TarError)):
        laid_out("speech_commands", archive)


def damaged(content: bytes) -> dict[str, bytes]:
    """A sound file in ways that cannot be used."""
    infinite = io.BytesIO()
    soundfile.write(infinite, np.full(16000, np.inf, np.float32), 16000, format="WAV", subtype="FLOAT")
    other = b"".join(bytes([255 - one]) for one in content)
    return {
        "cut": content[: len(content) // 2],
        "other": other,
        "head": content[:50],
        "not finite": infinite.getvalue(),
    }


@pytest.mark.parametrize("layout", ["speech_commands", "fsdd", "ljspeech", "librispeech"])
def test_damaged_clips_are_left_out_named_and_counted(
    layout: str, pack: Pack, capfd: pytest.CaptureFixture[str]
) -> None:
    name, form = {
        "speech_commands": ("yes/{:02x}_nohash_0.wav", "WAV"),
        "fsdd": ("x/recordings/7_theo_{}.wav", "WAV"),
        "ljspeech": ("x/wavs/LJ001-{:04}.wav", "WAV"),
        "librispeech": ("x/1/2/1-2-{}.flac", "FLAC"),
    }[layout]
    whole = sound(wave(0, 16000), 16000, form)
    clips = [whole, *damaged(whole).values(), whole]
    if form == "FLAC":  # what FLAC cannot hold
        del clips[4]
    lists = {
        "x/metadata.csv": "".join(f"LJ001-{number:04}|a|a\n" for number in range(9)).encode(),
        "x/1/2/1-2.trans.txt": "".join(f"1-2-{number} A\n" for number in range(9)).encode(),
    }
    archive = pack("a.tar.gz", lists | {name.format(number): clip for number, clip in enumerate(clips)})
    made = members(laid_out(layout, archive))
    assert len(made) == 3, "the first, the last and the manifest"
    said = capfd.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert line.startswith(f"warning: {len(clips) - 2} of {len(clips)} clips are left out; the first: {name.format(1)}")


def test_the_same_archive_gives_the_same_tar(pack: Pack) -> None:
    archive = pack("a.tar.gz", {f"yes/{i:02x}_nohash_0.wav": sound(wave(i, 160), 16000) for i in range(3)})
    assert laid_out("speech_commands", archive).read_bytes() == laid_out("speech_commands", archive).read_bytes()


def test_every_layout_is_there() -> None:
    for download in public_datasets.downloads():
        if download.layout:
            assert callable(resolve(download.layout))
