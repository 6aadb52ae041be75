"""A chat that speaks: the same answer in text, and its words while they are thought."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from muomni_cli import app
from muomni_cli.api import RequestError, TextChunk
from muomni_cli.bench.speech import measure_speech
from muomni_cli.commands.chat_output import answer_one_shot, deliver
from muomni_cli.commands.chat_session import TerminalSession
from muomni_cli.generation import Request, Sampling, generate
from muomni_cli.generation.torch_backend import TorchBackend
from muomni_cli.inference.chat_model import Answer, ChatModel
from muomni_cli.inference.settings import GenerationSettings
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.runs.run import RunFolder
from muomni_cli.voice.audio_out import AudioOutput, SpeechOutput
from muomni_cli.voice.synthesis import SpeechSampling, voice_of
from muomni_text.byte_level import ByteTokenizer
from muomni_thinker.model import build
from muomni_thinker.plugin import TransformerConfig

MakeRun = Callable[..., RunFolder]
SETTINGS = GenerationSettings(template="roles", system="", sampling=Sampling(), max_tokens=80, stop=(), seed=0)
WIDTH = 32


@pytest.fixture
def thinker() -> torch.nn.Module:
    torch.manual_seed(0)
    config = TransformerConfig(d_model=WIDTH, n_layers=1, n_heads=2, d_ff=48, ctx_len=256)
    module: torch.nn.Module = build(config, ByteTokenizer().vocab_size).eval()
    return module


@pytest.fixture
def speaker(thinker: torch.nn.Module) -> ChatModel:
    backend = TorchBackend(thinker, prefix_cache=True, hidden=True)  # type: ignore[arg-type]
    return ChatModel(backend, ByteTokenizer(), "tiny", hidden=True)


@pytest.fixture
def mouth(make_run: MakeRun, here: Path) -> SpeechOutput:
    voice = voice_of(RunEngine(make_run(width=WIDTH), device="cpu"))
    return SpeechOutput(voice, voice.voice_settings(), AudioOutput(here / "a.wav"))


def test_states_are_those_that_chose_the_tokens(thinker: torch.nn.Module) -> None:
    backend = TorchBackend(thinker, hidden=True)  # type: ignore[arg-type]
    prompts = [[1, 70, 80], [1, 90, 91, 92, 93]]
    requests = [Request(prompt, Sampling(temperature=0), max_tokens=4) for prompt in prompts]
    events = list(generate(backend, ByteTokenizer(), requests, hidden=True))
    for row, prompt in enumerate(prompts):
        mine = [event for event in events if event.row == row]
        with torch.inference_mode():
            states = thinker(torch.tensor([[*prompt, *(event.token for event in mine)]])).hidden[0]
        for place, event in enumerate(mine):
            np.testing.assert_allclose(event.hidden, states[len(prompt) - 1 + place].numpy(), atol=1e-4)
    assert all(event.hidden is None for event in generate(backend, ByteTokenizer(), requests))


def test_an_answer_in_text_and_speech(
    speaker: ChatModel, mouth: SpeechOutput, capsys: pytest.CaptureFixture[str]
) -> None:
    answer_one_shot(speaker, SETTINGS, "hello", json=False, stats=True)
    silent = capsys.readouterr()
    answer_one_shot(speaker, SETTINGS, "hello", json=False, stats=True, speech_output=mouth)
    loud = capsys.readouterr()
    assert loud.out == silent.out
    assert "real-time factor" in loud.err
    assert "wrote" in loud.err
    answer_one_shot(speaker, SETTINGS, "hello", json=True, stats=False, speech_output=mouth)
    assert json.loads(capsys.readouterr().out)["text"] + "\n" == silent.out
    ids = speaker.tokenizer.encode("hello")
    pieces = list(speaker.answer(ids, SETTINGS, Answer()))
    assert all(piece.hidden is not None and piece.hidden.shape == (WIDTH,) for piece in pieces)


def test_speech_begins_before_the_answer_ends(mouth: SpeechOutput, here: Path) -> None:
    happened: list[str] = []

    def pieces() -> Iterator[TextChunk]:
        for word in ("one ", "two ", "three"):
            yield TextChunk(word)

    with mouth.session():
        wrapped = mouth._file
        assert wrapped is not None

        def write(samples: np.ndarray) -> None:
            happened.append("sound")
            wrapped(samples)

        mouth._file = write
        deliver(pieces(), happened.append, mouth, seed=0, stats=False)
    assert happened.index("sound") < happened.index("two ")
    whole = np.concatenate(list(mouth.voice.say([TextChunk("one two three")], mouth.voice_settings, SpeechSampling())))
    samples, _ = soundfile.read(here / "a.wav", dtype="float32")
    np.testing.assert_allclose(samples, whole, atol=1.5 / 32768)


def test_a_session_is_one_file(speaker: ChatModel, mouth: SpeechOutput, here: Path) -> None:
    lines = ["hello", "and you", "/quit"]
    session = TerminalSession(speaker, SETTINGS, speech_output=mouth)
    session.run(lambda _: lines.pop(0))
    assert len(session.talk.exchanges) == 2
    letters = sum(
        sum("a" <= c <= "z" or c == " " for c in exchange.answer.lower()) for exchange in session.talk.exchanges
    )
    assert letters
    assert soundfile.info(here / "a.wav").frames == 2 * letters * 640


def test_an_answer_that_cannot_be_spoken_is_shown(mouth: SpeechOutput, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[str] = []
    with mouth.session():
        deliver([TextChunk("?"), TextChunk("!")], shown.append, mouth, seed=0, stats=True)
    assert shown == ["?", "!"]
    assert "nothing of this answer" in capsys.readouterr().err


def test_speech_does_not_share_stdout() -> None:
    with pytest.raises(RequestError, match="stdout"):
        AudioOutput.beside_text(Path("-"), False)


def test_the_bench_measures_every_usable_vocoder(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    make_run("voice", vocoder="learned")
    told: list[str] = []
    speeds = measure_speech("voice", rounds=1, device="cpu", threads=0, progress=told.append)
    names = [one.vocoder for one in speeds]
    assert names[0] == "learned"
    assert "ready" in names
    for one in speeds:
        assert 0 < one.factor.p50 <= one.factor.p95
        assert 0 < one.first_ms.p50 <= one.first_ms.p95
        assert one.seconds > 10
    assert {one.model for one in speeds} == {"voice"}
    assert all(one.ratio is None for one in speeds), "there is no other model"
    with pytest.raises(SystemExit):
        app.main(["bench", "tts", "-m", "nobody"])
    assert "no model 'nobody'" in capsys.readouterr().err


def test_the_bench_lets_models_take_turns(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muomni_cli.bench.speech.SENTENCES", ("Yes.", "Good morning."))
    make_run("one", vocoder="learned")
    make_run("other", vocoder="learned", seed=1)
    with pytest.raises(SystemExit) as exit_:
        app.main(["bench", "tts", "-m", "one", "--vs", "other", "--device", "cpu", "--json"])
    assert exit_.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert {"cpu", "cores", "torch", "muomni"} <= report["machine"].keys()
    spoken = {(voice["model"], voice["vocoder"]): voice for voice in report["voices"]}
    assert {model for model, _ in spoken} == {"one", "other"}
    for (model, vocoder), voice in spoken.items():
        assert ("one", vocoder) in spoken, "others speak with the vocoders of the first"
        if model == "one":
            assert voice["ratio"] is None
        else:
            assert 0 < voice["ratio"]["least"] <= voice["ratio"]["p50"] <= voice["ratio"]["most"]


def test_a_model_is_not_measured_against_itself(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    make_run("one")
    with pytest.raises(SystemExit) as exit_:
        app.main(["bench", "tts", "-m", "one", "--vs", "one"])
    assert exit_.value.code == 2
    assert "given twice" in capsys.readouterr().err
