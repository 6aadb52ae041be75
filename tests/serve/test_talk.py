"""``muomni talk`` and ``muomni bench talk``: the commands, the audio device, and the hook for the end of a turn."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from muomni_cli import Model
from muomni_cli.api import MuomniError, RequestError
from muomni_cli.commands.cli import build_cli
from muomni_cli.registry.loading import Plugin, PluginInfo
from muomni_cli.registry.registry import Registry, get_registry
from muomni_serve.live import LiveSettings
from muomni_serve.live_bench import TalkResult
from muomni_serve.talk import SoundDevice, devices, talk

HOOK = """
from muomni_cli.api import hookimpl

@hookimpl
def end_of_turn(samples, rate):
    return {answer}
"""


class Port:
    """A stream of a sound card that runs at 48 kHz alone, and calls back when the test says so."""

    def __init__(self, samplerate: int, blocksize: int, callback: Any, **_: Any) -> None:
        if samplerate != 48_000:
            raise ValueError("Invalid sample rate")
        self.samplerate, self.latency, self.size, self.callback = float(samplerate), 0.04, blocksize, callback
        self.state = "opened"

    def start(self) -> None:
        self.state = "started"

    def close(self) -> None:
        self.state = "closed"

    def call(self, samples: Any = None) -> Any:
        block = np.zeros((self.size, 1), np.float32)
        if samples is not None:
            block[:, 0] = samples
        self.callback(block, self.size, None, None)
        return block[:, 0]


@pytest.fixture
def sound_card(monkeypatch: pytest.MonkeyPatch) -> None:
    card = SimpleNamespace(InputStream=Port, OutputStream=Port, PortAudioError=OSError, query_devices=list)
    monkeypatch.setitem(sys.modules, "sounddevice", card)


@pytest.mark.usefixtures("sound_card")
def test_a_device_of_another_rate_is_resampled() -> None:
    tone = np.sin(2 * np.pi * 440 / 48_000 * np.arange(48_000)).astype(np.float32)
    heard: list[Any] = []

    async def run() -> Any:
        device = SoundDevice(16_000)
        assert device.playback.latency == 0.04
        device.start(heard.append)
        size = device._input.size
        for place in range(0, 48_000, size):
            device._input.call(tone[place : place + size])
        await asyncio.sleep(0)
        device.playback.begin()
        device.playback.add(tone[:16_000])
        played = np.concatenate([device._output.call() for _ in range(75)])
        device.close()
        assert (device._input.state, device._output.state) == ("closed", "closed")
        return played

    played = asyncio.run(run())
    recorded = np.concatenate(heard)
    assert 15_500 < recorded.size <= 16_000
    for samples, rate, pitch in ((recorded, 16_000, 440), (played, 48_000, 440 / 3)):
        spectrum = np.abs(np.fft.rfft(samples[:rate // 2] * np.hanning(rate // 2)))  # fmt: skip
        assert 2 * spectrum.argmax() == pytest.approx(pitch, abs=3)
    assert np.abs(played[48_000 + 4800 :]).max() < 1e-3


@pytest.mark.usefixtures("sound_card")
def test_a_device_that_cannot_be_opened_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: Any) -> None:
        raise OSError("no such device")

    monkeypatch.setattr(sys.modules["sounddevice"], "InputStream", refuse)

    async def run() -> None:
        with pytest.raises(MuomniError, match="the microphone cannot be opened: no such device"):
            SoundDevice(16_000, microphone="7")

    asyncio.run(run())


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    with pytest.raises(MuomniError, match="needs the package sounddevice"):
        devices()
    silent: Any = SimpleNamespace(capabilities=frozenset({"chat"}), label="tales")
    with pytest.raises(RequestError, match="tales cannot speak or transcribe"):
        talk(silent, LiveSettings())


@pytest.mark.usefixtures("sound_card")
def test_devices_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MuomniError, match="no microphone and no loudspeaker"):
        devices()
    headset = {"index": 3, "name": "Headset", "max_input_channels": 1, "max_output_channels": 2}
    monkeypatch.setattr(sys.modules["sounddevice"], "query_devices", lambda: [headset])
    shown = CliRunner().invoke(build_cli(get_registry().plugins), ["talk", "--devices"])
    assert shown.exit_code == 0
    assert shown.output.split()[-4:] == ["3", "Headset", "1", "2"]


@pytest.mark.slow
def test_dialogues_are_measured() -> None:
    cli = build_cli(get_registry().plugins)
    done = CliRunner().invoke(cli, ["bench", "talk", "-m", "nano", "--dialogues", "1", "--threads", "1", "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert found["dialogues"] == found["answered"] + found["unanswered"] == 1
    assert found["false_interruptions"] == 0
    assert set(found) == set(TalkResult().as_json())


@pytest.mark.parametrize(
    ("answers", "said"),
    [(["True"], True), (["False"], False), (["None"], None), (["None", "True"], True), (["1 / 0", "False"], False)],
)
def test_plugins_say_that_a_turn_is_over(
    answers: list[str], said: bool | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plugins = []
    for number, answer in enumerate(answers):
        file = tmp_path / f"turns_{number}.py"
        file.write_text(HOOK.format(answer=answer))
        plugins.append(Plugin(PluginInfo(file.stem, file.stem, "", str(file), "loaded", file=file)))
        plugins[-1].load()
    monkeypatch.setattr("muomni_cli.inference.model.get_registry", lambda: Registry(plugins))
    assert Model.turn_ended(np.zeros(1600, np.float32), 16_000) is said
    assert [one.info.status for one in plugins] == ["broken" if "/" in answer else "loaded" for answer in answers]
