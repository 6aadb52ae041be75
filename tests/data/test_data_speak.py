"""``muomni data synthesize``: a corpus of any text in a teacher's voice, resumable, and read back as it was said."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from muomni_cli.api import MuomniError, RequestError
from muomni_cli.app import main
from muomni_cli.voice.dataset import LIST, Corpus, SynthesizerChoice, choose_synthesizer, speak, texts_of
from muomni_datasets.config import ManifestConfig
from muomni_datasets.labeled_files import Manifest

needs_flite = pytest.mark.skipif(shutil.which("flite") is None, reason="the program flite is not installed")

TEXT = "A cat sat on\nthe mat. The cat was red! It is not said 9 times.\n\nA cat sat on the mat. Where is it?\n"
SAID = ["A cat sat on the mat.", "The cat was red!", "Where is it?"]


class Beeper:
    """A teacher whose sounds are as long as its texts."""

    voice = "beep"

    def __init__(self, refuses: str = "", stops: str = "") -> None:
        self.refuses, self.stops, self.said = refuses, stops, list[str]()

    def say(self, text: str) -> bytes:
        if self.stops and self.stops in text:
            raise KeyboardInterrupt
        if self.refuses and self.refuses in text:
            raise RequestError("that word is unspeakable", "leave it out")
        self.said.append(text)
        return wav(len(text))


def wav(tens: int) -> bytes:
    samples = b"\1\0" * (160 * tens)
    header = b"WAVEfmt " + (16).to_bytes(4, "little") + bytes.fromhex("01000100803e0000007d000002001000")
    chunks = header + b"data" + len(samples).to_bytes(4, "little") + samples
    return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks


def make(folder: Path, beeper: Beeper, texts: list[str] = SAID, **options: str) -> Corpus:
    heard: list[str] = []
    return speak(
        texts, SynthesizerChoice(beeper, "tests"), folder, form=options.get("form", "wav"), progress=heard.append
    )  # type: ignore[arg-type]


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return path


def test_texts_are_different_sentences(text: Path, tmp_path: Path) -> None:
    assert texts_of([text, text], (2, 25), 0) == SAID
    assert texts_of([text], (2, 25), 2) == SAID[:2]
    with pytest.raises(RequestError, match="no English sentence"):
        texts_of([text], (20, 25), 0)
    with pytest.raises(RequestError, match="cannot read"):
        texts_of([text, tmp_path / "gone.txt"], (2, 25), 0)


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_a_corpus_is_read_back_as_it_was_said(tmp_path: Path, form: str) -> None:
    corpus = make(tmp_path / "c", Beeper(), form=form)
    assert (corpus.sentences, corpus.made, corpus.left_out) == (3, 3, 0)
    assert corpus.seconds == pytest.approx(sum(map(len, SAID)) / 100)
    source = Manifest(ManifestConfig(path=str(corpus.path), modality="audio"))
    examples = list(source.documents())
    assert [(one.text, one.key, one.voice) for one in examples] == [(text, text, "beep") for text in SAID]
    assert source.unreadable == {}
    for one in examples:
        with one.media.open() as file:
            assert soundfile.info(file).duration == pytest.approx(len(one.text) / 100)


def test_what_was_made_is_kept_and_the_list_comes_last(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        make(tmp_path / "c", Beeper(stops="Where"))
    assert not (tmp_path / "c" / LIST).exists()
    assert len(list((tmp_path / "c/audio").iterdir())) == 2, "whole ones, and nothing else"
    again = Beeper()
    corpus = make(tmp_path / "c", again)
    assert again.said == ["Where is it?"]
    assert (corpus.sentences, corpus.made) == (3, 1)
    other = Beeper()
    other.voice = "boop"
    assert make(tmp_path / "c", other).made == 3, "another voice is another sound"


def test_a_text_that_is_not_said_costs_that_text(tmp_path: Path) -> None:
    corpus = make(tmp_path / "c", Beeper(refuses="red"))
    assert (corpus.sentences, corpus.left_out) == (2, 1)
    with pytest.raises(RequestError, match="unspeakable"):
        make(tmp_path / "d", Beeper(refuses=" "))
    assert not (tmp_path / "d").exists()


class Mumbler(Beeper):
    """A teacher whose files are damaged."""

    def say(self, text: str) -> bytes:
        whole = super().say(text)
        return whole[: len(whole) // 2] if "red" in text else b"ID3 no sound" if "Where" in text else whole


@pytest.mark.parametrize("form", ["wav", "flac"])
def test_damaged_recordings_are_counted_and_those_that_lie_there_made_again(
    tmp_path: Path, form: str, capfd: pytest.CaptureFixture[str]
) -> None:
    corpus = make(tmp_path / "c", Mumbler(), form=form)
    assert (corpus.sentences, corpus.made, corpus.left_out) == (1, 1, 2)
    (path,) = (tmp_path / "c/audio").iterdir()
    whole = path.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], bytes(255 - one for one in whole), b"ID3" + whole):
        path.write_bytes(damaged)
        corpus = make(tmp_path / "c", Mumbler(), form=form)
        assert (corpus.sentences, corpus.made) == (1, 1)
        assert path.read_bytes() == whole
    assert make(tmp_path / "c", Mumbler(), form=form).made == 0
    assert capfd.readouterr() == ("", "")


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RequestError, match="is a file, not a folder"):
        make(tmp_path / "file", Beeper())
    with pytest.raises(MuomniError, match="could not write"):
        make(tmp_path / "file/below", Beeper())
    assert (tmp_path / "file").read_text() == "x"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main([str(one) for one in ("data", "synthesize", *arguments)])
        out, err = capsys.readouterr()
        return int(left.value.code or 0), out, err

    return call


@needs_flite
def test_flite_speaks_from_the_command_line(
    run: Callable[..., tuple[int, str, str]], text: Path, tmp_path: Path
) -> None:
    code, out, err = run(text, "-o", tmp_path / "c", "--voice", "kal16", "--limit", "2", "--format", "flac")
    assert (code, out) == (0, f"{tmp_path / 'c' / LIST}\n"), err
    rows = [json.loads(line) for line in (tmp_path / "c" / LIST).read_text().splitlines()]
    assert [row["text"] for row in rows] == SAID[:2]
    assert {row["voice"] for row in rows} == {"kal16"}
    assert all(1 < soundfile.info(tmp_path / "c" / row["audio"]).duration < 4 for row in rows)
    code, out, _ = run(text, "-o", tmp_path / "c", "--voice", "kal16", "--format", "flac", "--json")
    assert code == 0
    assert json.loads(out) | {"seconds": 0} == {
        "path": str(tmp_path / "c" / LIST), "sentences": 3, "made": 1, "left_out": 0, "seconds": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (["--voice", "nobody"], "no voice 'nobody'"),
        (["--synthesizer", "text"], "text has no speech synthesizer"),
        (["--synthesizer", "nobody"], "no dataset 'nobody'"),
        (["--model", "nobody"], "nobody"),
        (["--model", "a", "--synthesizer", "b"], "choose one"),
        (["--min-words", "9", "--max-words", "8"], "--min-words 9"),
    ],
)
def test_what_is_wrong_is_one_line(
    run: Callable[..., tuple[int, str, str]],
    text: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    what: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(text, "-o", tmp_path / "c", *options)
    assert (code, out) == (2, "")
    assert what in err
    assert len(err.splitlines()) == 2
    assert not (tmp_path / "c").exists()


def test_without_a_speech_program_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # noqa: ARG005
    with pytest.raises(RequestError, match="no speech program is installed"):
        choose_synthesizer(None, None, None)


def test_lines_are_spoken_as_they_are(tmp_path: Path) -> None:
    text = tmp_path / "lines.txt"
    text.write_text("turn on  the light\n\nfive nine two\nturn on the light\nstop\n")
    assert texts_of([text], (2, 25), 0, cut=False) == ["turn on the light", "five nine two"]
    with pytest.raises(RequestError, match="no line of 5 to 25 words"):
        texts_of([text], (5, 25), 0, cut=False)
