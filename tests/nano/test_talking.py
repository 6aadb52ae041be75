"""nano in conversation: it ends, it hears what was played earlier, and its insides can be looked at."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, app, load
from muomni_cli.api import Example
from muomni_cli.contract.speech import SpeechReport
from muomni_cli.eval.speech import hop_bend, hop_profile
from muomni_datasets.config import SoundsConfig
from muomni_datasets.synthetic_sounds import SyntheticSounds


@pytest.fixture(scope="module")
def omni() -> Model:
    return load("nano", threads=1)


@pytest.mark.parametrize("text", ["Hello", "Hi", "Thank you", "Tell me a story", "Who are you?", "la la la la"])
def test_no_answer_runs_on(omni: Model, text: str) -> None:
    tokenizer = omni.engine.tokenizer()
    assert len(tokenizer.encode(omni.chat(text))) < 110
    assert omni.chat(text) == "".join(omni.chat_stream(text))
    assert omni.chat(text, loop_guard=False).startswith(omni.chat(text))


def test_a_second_question_still_hears_the_sound(omni: Model) -> None:
    sounds = [one for one in SyntheticSounds(SoundsConfig(count=8)).documents() if isinstance(one, Example)]
    right = dropped = 0
    for one in sounds:
        example = omni.session()
        with one.media.open() as file:
            content = file.read()
        example.ask("What do you see?", audio=content)
        right += example.ask("What do you hear?") == one.text
        example.drop()
        dropped += example.ask("What do you hear?") == one.text
    assert right >= 6
    assert dropped < right


def test_trace_shows_what_is_inside(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    titles = {}
    for engine in ("auto", "bundle"):
        with pytest.raises(SystemExit):
            app.main(["trace", "-m", "nano", "Hello", "--tokens", "1", "--json", "--engine", engine])
        titles[engine] = {line["step"] for line in json.loads(capsys.readouterr().out)}
    assert {"token embedding", "block 4 of 4"} <= titles["auto"]
    assert {"thinker: embed", "thinker: thinker"} <= titles["bundle"]


def test_every_letter_is_heard(omni: Model) -> None:
    for letter in "abcdefghijklmnopqrstuvwxyz":
        for text in (letter, f"{letter.upper()}."):
            assert omni.speak(text)[0].std() > 0.04, text


def test_long_words_are_spoken_to_their_end_at_every_speed(omni: Model) -> None:
    for word in ("supercalifragilisticexpialidocious", "pneumonoultramicroscopicsilicovolcanoconiosis"):
        for speed in (0.5, 1.0, 2.0):
            report = SpeechReport()
            samples, rate = omni.speak(word, speed=speed, report=report)
            assert not report.cut
            assert samples[-rate // 20 :].std() < 0.2 * samples.std()


def test_the_library_tells_what_is_left_out(omni: Model, caplog: pytest.LogCaptureFixture) -> None:
    report = SpeechReport()
    omni.speak("Hello Мир", report=report)
    assert list(report.skipped) == ["Мир"]
    assert "Мир" in caplog.text


def test_the_vocoder_does_not_buzz_at_its_hops(omni: Model) -> None:
    texts = (
        "She went into the garden and saw a little bird.",
        "The fox ran away with the golden ring.",
        "Then the wolf came to the house and knocked.",
        "One two three four five.",
        "Hello, how are you today?",
    )
    hop = omni.engine.codec().mel.hop
    bend = hop_bend([hop_profile(omni.speak(text)[0], hop) for text in texts])
    assert bend is not None
    assert bend < 1.5  # 1.28 over 285 sentences, 1.28 to 1.40 over five; without the dispersion above 3
