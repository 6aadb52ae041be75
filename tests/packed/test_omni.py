"""A bundle as a library gives what the commands give, says nothing meanwhile, and may be asked by many at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile
from PIL import Image

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import app
from muomni_onnx import Omni, RequestError, Word

if TYPE_CHECKING:
    from tests.whole import Whole

ROOT = Path(__file__).resolve().parents[2]
QUESTION = "what is this?"


@pytest.fixture(scope="module")
def omni(whole: Whole) -> Omni:
    return Omni(whole.bundle, threads=1)


class Told:
    """``told("chat", "hello")`` gives stdout of a command on the bundle."""

    def __init__(self, whole: Whole, capsys: pytest.CaptureFixture[str]) -> None:
        self._whole, self._capsys = whole, capsys

    def __call__(self, *words: Any) -> str:
        with pytest.raises(SystemExit) as left:
            app.main([*map(str, words), "-m", str(self._whole.bundle), "--threads", "1"])
        assert left.value.code == 0
        return self._capsys.readouterr().out


@pytest.fixture
def told(whole: Whole, capsys: pytest.CaptureFixture[str]) -> Told:
    return Told(whole, capsys)


def test_answers_are_those_of_the_command(omni: Omni, whole: Whole, told: Told) -> None:
    media = ("--image", whole.picture, "--audio", whole.sound)
    asked = omni.chat(QUESTION, image=whole.picture, audio=str(whole.sound))
    assert asked == told("chat", QUESTION, *media)[:-1]
    assert asked != omni.chat(QUESTION), "what is shown is seen"
    drawn = {"temperature": 1.5, "top_k": 40, "seed": 7, "max_tokens": 9}
    words = [word for name, value in drawn.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert omni.chat(QUESTION, **drawn) == told("chat", QUESTION, *words)[:-1]  # type: ignore[arg-type]


def test_pieces_are_the_answer_and_may_be_left_off(omni: Omni) -> None:
    pieces = list(omni.stream(QUESTION, max_tokens=12, loop_guard=False))
    assert len(pieces) > 1
    assert "".join(pieces) == omni.chat(QUESTION, max_tokens=12, loop_guard=False)
    guarded = list(omni.stream(QUESTION, max_tokens=12))
    assert "".join(guarded) == omni.chat(QUESTION, max_tokens=12)
    stream = omni.stream(QUESTION, max_tokens=12, loop_guard=False)
    assert next(stream) == pieces[0]
    stream.close()  # type: ignore[attr-defined]


def test_speech_is_that_of_the_command(omni: Omni, told: Told, tmp_path: Path) -> None:
    text = "hello there, you. how are you?"
    samples, rate = omni.speak(text, voice="bob", speed=0.8, seed=3, temperature=0.7)
    options = ("--voice", "bob", "--speed", 0.8, "--seed", 3, "--temperature", 0.7)
    told("tts", text, *options, "-o", tmp_path / "out.wav")
    written, expected = soundfile.read(tmp_path / "out.wav", dtype="float32")
    assert (samples.dtype, rate) == (np.float32, expected)
    np.testing.assert_allclose(samples, written, atol=1 / 32000)
    assert omni.voices == ["ann", "bob"]
    assert 0.01 < np.abs(samples).max() < 1
    chunks = list(omni.speak_chunks(iter([*text]), voice="bob", speed=0.8, seed=3, temperature=0.7))
    assert len(chunks) > 1
    np.testing.assert_array_equal(np.concatenate(chunks), samples)
    assert omni.speak(text, max_seconds=0.05)[0].size == rate // 20


def test_words_are_those_of_the_command(omni: Omni, whole: Whole, told: Told) -> None:
    words = omni.listen(whole.sound, beam=4)
    (report,) = json.loads(told("listen", whole.sound, "--beam", 4, "--json"))
    assert words == [Word(**word) for word in report["words"]]
    assert words
    assert omni.transcribe(whole.sound, beam=4) == report["text"]


def test_media_may_be_files_bytes_arrays_and_pictures(omni: Omni, whole: Whole) -> None:
    expected = omni.chat(QUESTION, image=whole.picture, audio=whole.sound)
    picture = Image.open(whole.picture)
    samples, rate = soundfile.read(whole.sound, dtype="int16")
    for image in (whole.picture.read_bytes(), picture, np.asarray(picture), [np.asarray(picture)]):
        for audio in (whole.sound.read_bytes(), (samples, rate), (samples / np.float32(2**15), rate)):
            assert omni.chat(QUESTION, image=image, audio=audio) == expected
    assert omni.chat(QUESTION, attach={"image": picture, "audio": whole.sound}) == expected
    assert omni.transcribe((np.stack([samples, samples], 1), rate)) == omni.transcribe(whole.sound)
    turned = Image.fromarray(np.asarray(picture)[::-1, ::-1])
    turned.getexif()[0x0112] = 3  # by half a turn
    assert omni.chat(QUESTION, image=turned, audio=whole.sound) == expected


def test_a_conversation_knows_its_turns(omni: Omni, whole: Whole) -> None:
    talk = omni.talk(system="be brief", max_tokens=6)
    first = talk.ask("hello", image=whole.picture)
    assert first == omni.chat("hello", image=whole.picture, system="be brief", max_tokens=6)
    with pytest.raises(RequestError, match="empty"):
        talk.ask(" ")
    with pytest.raises(RequestError, match="nowhere"):
        talk.ask("again", image="nowhere.png")
    assert talk.turns == [("hello", first)]
    second = talk.ask("and you?")
    assert talk.turns == [("hello", first), ("and you?", second)]
    assert second != omni.chat("and you?", system="be brief", max_tokens=6), "what was said before is known"
    for number in range(20):
        talk.ask(f"more {number}")
    assert talk.turns[-1][0] == "more 19"
    assert 2 <= len(talk.turns) < 22, "the oldest are forgotten"


def test_an_answer_that_was_left_off_is_remembered_as_far_as_it_was_heard(omni: Omni) -> None:
    talk = omni.talk(max_tokens=12, loop_guard=False)
    stream = talk.stream("hello")
    heard = next(stream) + next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert talk.turns == [("hello", heard)]
    assert talk.ask("go on")


def test_threads_get_what_each_gets_alone(omni: Omni, whole: Whole) -> None:
    def work(number: int) -> tuple[Any, ...]:
        said = omni.chat(f"question {number}", image=whole.picture, temperature=1.0, seed=number)
        samples, _ = omni.speak(f"number {number} of nine", voice=("ann", "bob")[number % 2])
        return said, samples.tobytes(), tuple(omni.listen(whole.sound)), omni.talk(max_tokens=4).ask(str(number))

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(9)))
    assert together == [work(number) for number in range(9)]
    assert len(set(together)) == 9


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda omni: omni.chat(""), "empty"),
        (lambda omni: omni.stream("x" * 999), "context holds"),
        (lambda omni: omni.stream("hi", temperature=-1), "temperature"),
        (lambda omni: omni.chat("hi", image=b""), "empty"),
        (lambda omni: omni.chat("hi", image=b"no picture"), "picture"),
        (lambda omni: omni.chat("hi", image=3), "int"),
        (lambda omni: omni.chat("hi", image=np.zeros((4, 4, 3))), "float64"),
        (lambda omni: omni.chat("hi", audio=(np.zeros(9, np.float32), 0)), "0 samples a second"),
        (lambda omni: omni.chat("hi", audio=(np.zeros((2, 2, 2), np.float32), 8000)), "3 axes"),
        (lambda omni: omni.chat("hi", attach={"smell": "rose.txt"}), "no encoder for smell"),
        (lambda omni: omni.speak_chunks("hi", voice="bo"), "did you mean 'bob'|no voice 'bo'"),
        (lambda omni: omni.speak("hi", speed=9), "speed is 9"),
        (lambda omni: omni.speak("..."), "nothing in the text"),
        (lambda omni: omni.listen("nowhere.wav"), "nowhere.wav"),
        (lambda omni: omni.words("nowhere.wav", beam=-1), "beam"),
    ],
)
def test_mistakes_are_raised_with_what_to_do(omni: Omni, ask: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said) as raised:
        ask(omni)
    assert raised.value.fix
    assert raised.value.__notes__ == [f"fix: {raised.value.fix}"]


def test_what_is_no_bundle_or_closed_is_refused(whole: Whole) -> None:
    with pytest.raises(RequestError, match="is no bundle"):
        Omni(whole.run)
    with Omni(whole.bundle, device="cpu") as omni:
        assert set(omni.senses) == {"image", "audio"}
        assert str(whole.bundle) in omni.label
        stream = omni.stream("hello")
    assert "".join(stream), "what was begun goes on"
    with pytest.raises(RequestError, match="closed"):
        omni.chat("hello")


def test_the_library_says_nothing_and_is_imported_when_it_is_used(whole: Whole) -> None:
    script = f"""
import sys
import muomni_onnx
import muomni_onnx.plugin
assert not {{"numpy", "onnxruntime", "PIL"}} & set(sys.modules)
with muomni_onnx.Omni({str(whole.bundle)!r}) as omni:
    omni.chat("hi", image={str(whole.picture)!r}, audio={str(whole.sound)!r})
    omni.talk().ask("hi")
    omni.listen(omni.speak("hello there, you"))
assert not {{"torch", "onnx", "matplotlib", "psutil"}} & set(sys.modules)
assert "Nobody" not in dir(muomni_onnx)
try:
    muomni_onnx.Nobody
except AttributeError:
    pass
"""
    roots = os.pathsep.join(str(ROOT / folder) for folder in (".", "plugins", "exports"))
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": roots},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
