"""The times of nano's words are those that another recognizer finds in its audio."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, app, load
from muomni_cli.contract.speech import SpeechReport

SENTENCES = [
    "The old dog sat down beside the kitchen fire.",
    "Bring seven green bottles to the garden.",
    "She went into the garden and saw a little bird.",
    "Then the wolf came to the house and knocked.",
]


@pytest.fixture(scope="module")
def nano() -> Model:
    return load("nano", threads=1)


@pytest.mark.parametrize("speed", [0.75, 1.0, 1.5])
def test_words_begin_and_end_where_another_hears_them(nano: Model, speed: float) -> None:
    """Over 100 sentences at speed 1 the errors are 20 ms in the median and 70 ms in 95 of 100 (forced alignment)."""
    pytest.importorskip("pocketsphinx", reason="pocketsphinx, the judge, is not installed: pip install 'muomni[eval]'")
    from muomni_cli.speech.asr import Recognizer, words_of

    recognizer = Recognizer.for_sentences(SENTENCES)
    errors = []
    for sentence in SENTENCES:
        report = SpeechReport()
        samples, rate = nano.speak(sentence, speed=speed, report=report)
        heard = recognizer.align(sentence, samples, rate)
        assert [word.text for word in report.words] == sentence.split()
        assert [word.text for word in heard] == words_of(sentence)
        for ours, theirs in zip(report.words, heard, strict=True):
            errors += [abs(ours.start - theirs.start), abs(ours.end - theirs.end)]
    assert np.median(errors) <= 0.04
    assert np.quantile(errors, 0.9) <= 0.12


def test_a_number_has_the_time_of_all_its_spoken_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = "It was 23 °C.<break time='2s'/> Мир on Jan. 5th"
    with pytest.raises(SystemExit) as raised:
        app.main(["tts", "-m", "nano", text, "-o", "a.wav", "--srt", "a.srt", "--json"])
    assert raised.value.code == 0
    made = json.loads(capsys.readouterr().out)
    assert [word["text"] for word in made["words"]] == ["It", "was", "23 °C.", "on", "Jan.", "5th"]
    lasting = {word["text"]: word["end"] - word["start"] for word in made["words"]}
    assert lasting["23 °C."] > 4 * lasting["was"]
    samples, rate = soundfile.read("a.wav")
    pause = samples[
        int(made["words"][2]["end"] * rate + 0.1 * rate) : int(made["words"][3]["start"] * rate - 0.1 * rate)
    ]
    assert pause.size > 0.1 * rate
    assert pause.std() < 0.1 * samples.std()
    assert made["words"][-1]["end"] <= made["seconds"]
    assert "It was 23 °C." in Path("a.srt").read_text(encoding="utf-8")
