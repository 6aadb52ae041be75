"""nano in conversation: it ends, it hears what was played earlier, and its insides can be looked at."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("onnxruntime", reason="needs onnxruntime")

from muomni_cli import Model, app, load
from muomni_cli.api import Example
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
