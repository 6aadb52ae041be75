"""A voice streams: pieces of text in, pieces of sound out, and no seam is heard."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_cli.api import RequestError, TextChunk, VoiceSettings
from muomni_cli.models.run_engine import RunEngine
from muomni_cli.runs.run import RunFolder
from muomni_cli.voice.synthesis import SpeechSampling, SpeechStats, Voice, voice_of

MakeRun = Callable[..., RunFolder]
TEXT = "hello there, how are you"


@pytest.fixture
def voice(make_run: MakeRun) -> Voice:
    return voice_of(RunEngine(make_run(width=4), device="cpu"))


def spoken(
    speaker: Voice, *texts: str, sampling: SpeechSampling | None = None, **voice_settings: object
) -> NDArray[np.float32]:
    pieces = speaker.say(
        [TextChunk(text) for text in texts], VoiceSettings(**voice_settings), sampling or SpeechSampling()
    )  # type: ignore[arg-type]
    return np.concatenate([np.zeros(0, np.float32), *pieces])


def test_streamed_equals_unstreamed(make_run: MakeRun) -> None:
    engine = RunEngine(make_run(width=4), device="cpu")
    voice = voice_of(engine)
    codec, vocoder = engine.speech_module("codec"), engine.speech_module(engine.vocoder_name())
    codes = np.concatenate(
        list(voice.talker.speak([TextChunk(TEXT)], VoiceSettings(), lambda logits: int(logits.argmax())))
    )
    with torch.inference_mode():
        mel = codec.expand(codec.decode(torch.from_numpy(codes)[None]))
        whole = vocoder(mel)[0].numpy()
    assert whole.size == len(codes) * codec.frame * codec.mel.hop
    np.testing.assert_allclose(spoken(voice, TEXT), whole, atol=1e-5)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_cuts_change_nothing(voice: Voice, temperature: float) -> None:
    sampling = SpeechSampling(seed=3, temperature=temperature)
    whole = spoken(voice, TEXT, sampling=sampling)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.integers(0, len(TEXT)), max_size=5))
    def check(cuts: list[int]) -> None:
        edges = [0, *sorted(cuts), len(TEXT)]
        texts = [TEXT[a:b] for a, b in zip(edges, edges[1:], strict=False)]  # noqa: RUF007
        np.testing.assert_array_equal(spoken(voice, *texts, sampling=sampling), whole)

    check()


def test_same_seed_same_samples(voice: Voice) -> None:
    def drawn(seed: int) -> NDArray[np.float32]:
        return spoken(voice, TEXT, sampling=SpeechSampling(seed=seed, temperature=1.0))

    np.testing.assert_array_equal(drawn(1), drawn(1))
    assert not np.array_equal(drawn(1), drawn(2))
    np.testing.assert_array_equal(spoken(voice, TEXT), spoken(voice, TEXT, sampling=SpeechSampling(seed=9)))


def test_voice_and_speed_are_heard(voice: Voice) -> None:
    plain = spoken(voice, TEXT)
    np.testing.assert_array_equal(plain, spoken(voice, TEXT, voice="ann"))
    assert not np.array_equal(plain, spoken(voice, TEXT, voice="bob"))
    assert spoken(voice, TEXT, speed=2.0).size == plain.size // 2


def test_hidden_states_are_heard(voice: Voice) -> None:
    said = [TextChunk("hello", np.full(4, 3.0, np.float32))]
    with_states = np.concatenate(list(voice.say(said, VoiceSettings(), SpeechSampling())))
    assert not np.array_equal(with_states, spoken(voice, "hello"))


def test_the_first_sound_comes_before_the_last_text(voice: Voice) -> None:
    read: list[str] = []

    def pieces() -> Iterator[TextChunk]:
        for word in ("one ", "two ", "three ", "four "):
            read.append(word)
            yield TextChunk(word)

    speech = SpeechStats(voice.sample_rate)
    samples = voice.say(pieces(), VoiceSettings(), SpeechSampling(), speech)
    first = next(samples)
    assert read == ["one "]
    assert speech.samples == first.size
    assert speech.first is not None
    rest = sum(piece.size for piece in samples)
    assert speech.samples == first.size + rest
    assert speech.seconds == speech.samples / 8000
    assert speech.frames == 2 * len("one two three four ")
    assert speech.factor > 0
    assert not speech.cut


def test_longest_speech(voice: Voice) -> None:
    whole = spoken(voice, TEXT)
    speech = SpeechStats(voice.sample_rate)
    cut = np.concatenate(list(voice.say([TextChunk(TEXT)], VoiceSettings(), SpeechSampling(max_seconds=0.5), speech)))
    np.testing.assert_array_equal(cut, whole[:4000])
    assert speech.cut


def test_nothing_to_say_is_nothing(voice: Voice) -> None:
    assert spoken(voice, "", "!?").size == 0


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf")])
def test_wrong_drawing(temperature: float) -> None:
    with pytest.raises(RequestError, match="temperature"):
        SpeechSampling(temperature=temperature)
    with pytest.raises(RequestError, match="seed"):
        SpeechSampling(seed=-1)
    with pytest.raises(RequestError, match="max_seconds"):
        SpeechSampling(max_seconds=0)


def test_unknown_voice_names_the_known(voice: Voice) -> None:
    with pytest.raises(RequestError, match="no voice 'anna'") as caught:
        voice.voice_settings("anna")
    assert "did you mean 'ann'" in caught.value.fix
    assert "bob" in caught.value.fix
    for speed in (0.4, 2.1, float("nan")):
        with pytest.raises(RequestError, match="speed"):
            voice.voice_settings(speed=speed)


def test_vocoders_that_can_be_used(make_run: MakeRun) -> None:
    trained = make_run("trained", vocoder="learned")
    engine = RunEngine(trained, device="cpu")
    assert engine.vocoders[0] == "learned"
    assert voice_of(engine).vocoder_name == "learned"
    assert voice_of(engine, "ready").vocoder_name == "ready"
    bare = RunEngine(make_run("bare", vocoder="learned", without=("vocoder",)), device="cpu")
    assert "head_metadata" not in bare.vocoders
    with pytest.raises(RequestError, match=r"vocoder learned of run .* is not trained") as caught:
        voice_of(bare)
    assert "muomni train vocoder" in caught.value.fix
    assert "--vocoder ready" in caught.value.fix
    with pytest.raises(RequestError, match="not trained"):
        voice_of(RunEngine(make_run("other"), device="cpu"), "learned")
    assert voice_of(bare, "ready").vocoder_name == "ready"


@pytest.mark.parametrize("missing", ["talker", "codec"])
def test_what_is_not_trained_is_named(make_run: MakeRun, missing: str) -> None:
    with pytest.raises(RequestError, match=f"no trained {missing}") as caught:
        voice_of(RunEngine(make_run(without=(missing,)), device="cpu"))
    assert f"muomni train {missing}" in caught.value.fix


def test_a_talker_of_another_codec_is_refused(make_run: MakeRun) -> None:
    run = make_run()
    entry = run.model()["parts"]["talker"]
    run.record("talker", {}, {**entry, "codes": {**entry["codes"], "seconds": 0.04}})
    with pytest.raises(RequestError, match="different codec"):
        voice_of(RunEngine(run, device="cpu"))
