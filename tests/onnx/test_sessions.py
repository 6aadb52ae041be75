# ruff: noqa: E402
"""Graphs open where they were asked to run, or say why not; what they keep on a device comes back unchanged."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import onnxruntime

from muomni_cli.api import RequestError
from muomni_onnx import sessions
from muomni_onnx.providers import OTHERS
from muomni_onnx.sessions import CPU, CUDA, GraphSession, cores, fetch, open_sessions, places
from tests.onnx.thinker_parts import WIDTH


def several_calls(session: GraphSession, states: dict[str, str]) -> list[np.ndarray[Any, Any]]:
    """Logits, call after call, of two rows; the states are cut to three tokens once."""
    random, made = np.random.default_rng(0), []
    held: dict[str, Any] = {name: session.put(np.zeros((2, 1, 0, WIDTH // 2), np.float32)) for name in states}
    for length in (5, 1, 1, 4, 1):
        feeds = {"inputs_embeds": random.standard_normal((2, length, WIDTH), np.float32), **held}
        gave = session(feeds, ["logits", *states.values()])
        made.append(gave["logits"])
        held = {past: gave[present] for past, present in states.items()}
        if length == 4:
            held = {name: session.put(fetch(value)[:, :, :3]) for name, value in held.items()}
    return made


def test_bound_calls_give_what_unbound_ones_give(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, entry = tiny
    kept = entry["states"].values()
    plain, bound = (GraphSession(folder / "thinker.onnx", 1, kept=kept, bind=bind) for bind in (False, True))
    for one, other in zip(several_calls(plain, entry["states"]), several_calls(bound, entry["states"]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_kept_is_not_an_array_where_it_is_bound(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, _ = tiny
    session = GraphSession(folder / "embed.onnx", 1, kept=["inputs_embeds"], bind=True)
    kept = session({"input_ids": np.array([[1, 2]])})["inputs_embeds"]
    assert isinstance(kept, onnxruntime.OrtValue)
    array = fetch(kept)
    assert array.shape == (1, 2, WIDTH)
    np.testing.assert_array_equal(fetch(session.put(array[:, 1:])), array[:, 1:])
    plain = GraphSession(folder / "embed.onnx", 1, kept=["inputs_embeds"])
    np.testing.assert_array_equal(plain({"input_ids": np.array([[1, 2]])})["inputs_embeds"], array)


@pytest.mark.parametrize("device", OTHERS)
def test_another_provider_that_is_not_there_is_named_with_what_to_install(device: str) -> None:
    if OTHERS[device].provider in onnxruntime.get_available_providers():
        pytest.skip(f"{device} is there")
    with pytest.raises(RequestError, match=OTHERS[device].provider) as told:
        places(device)
    assert OTHERS[device].package in told.value.fix


def test_another_provider_that_is_there_is_used_and_what_is_known_of_it_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [OTHERS["coreml"].provider, CPU])
    (place,) = places("coreml")
    assert (place.name, place.device) == ("coreml", "cpu")
    assert place.configured == (OTHERS["coreml"].provider, {"ModelFormat": "MLProgram", "MLComputeUnits": "ALL"})
    assert "coreml is untested" in capsys.readouterr().err


def test_sessions_open_together_and_only_those_asked_for(tiny: tuple[Path, dict[str, Any]]) -> None:
    folder, entry = tiny
    paths = {name: folder / f"{name}.onnx" for name in ("embed", "thinker")}
    opened = open_sessions(paths, "cpu", 1, {"thinker": entry["states"].values()})
    assert list(opened) == ["embed", "thinker"]
    assert {session.provider for session in opened.values()} == {CPU}
    assert opened["thinker"].type("inputs_embeds") == np.float32
    assert opened["thinker"].shape("logits")[1:] == ["time", 23]
    assert open_sessions({}, "cpu") == {}


@pytest.mark.parametrize("device", ["cpu", "auto"])
def test_a_file_that_is_no_graph_is_named(tmp_path: Path, device: str) -> None:
    (tmp_path / "thinker.onnx").write_bytes(b"nothing of the kind")
    with pytest.raises(RequestError, match=r"thinker.onnx cannot be opened"):
        open_sessions({"thinker": tmp_path / "thinker.onnx"}, device)
    with pytest.raises(RequestError, match=r"embed.onnx is missing"):
        GraphSession(tmp_path / "embed.onnx", device=device)


def test_a_device_that_is_none_is_refused(tiny: tuple[Path, dict[str, Any]]) -> None:
    for device in ("tpu", "cuda:", "cuda:x", ""):
        with pytest.raises(RequestError, match="there is no device"):
            GraphSession(tiny[0] / "embed.onnx", device=device)


def pretend(patch: pytest.MonkeyPatch, providers: list[str], devices_there: int, installed: tuple[str, ...]) -> None:
    """That onnxruntime was built and installed otherwise, on another machine."""

    def version(package: str) -> str:
        if package not in installed:
            raise metadata.PackageNotFoundError(package)
        return "1"

    patch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    patch.setattr(sessions, "count_devices", lambda: devices_there)
    patch.setattr(metadata, "version", version)


@pytest.mark.parametrize(
    ("providers", "there", "installed", "says"),
    [
        ([CPU], 1, ("onnxruntime",), "onnxruntime-gpu is not installed"),
        ([CPU], 1, ("onnxruntime", "onnxruntime-gpu"), "are both installed"),
        ([CUDA, CPU], 0, ("onnxruntime-gpu",), "there is no CUDA device"),
    ],
)
def test_cuda_where_there_is_none_says_what_is_missing(
    tiny: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    providers: list[str],
    there: int,
    installed: tuple[str, ...],
    says: str,
) -> None:
    pretend(monkeypatch, providers, there, installed)
    for device in ("cuda", "cuda:0"):
        with pytest.raises(RequestError, match=says):
            open_sessions({"embed": tiny[0] / "embed.onnx"}, device)
    assert open_sessions({"embed": tiny[0] / "embed.onnx"}, "auto")["embed"].provider == CPU


def test_a_device_beyond_the_last_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, [CUDA, CPU], 2, ("onnxruntime-gpu",))
    assert [place.index for place in sessions.places("cuda:1")] == [1]
    with pytest.raises(RequestError, match=r"no device 'cuda:2': NVIDIA's driver shows 2"):
        sessions.places("cuda:2")


@pytest.mark.skipif(CUDA in onnxruntime.get_available_providers(), reason="this onnxruntime knows CUDA")
def test_a_provider_that_does_not_load_is_no_silent_cpu(
    tiny: tuple[Path, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that lists CUDA and cannot load it gives a session on the CPU: that is an error, or auto's choice."""
    pretend(monkeypatch, [CUDA, CPU], 1, ("onnxruntime-gpu",))
    graph = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda path, sess_options, **_: graph(path, sess_options, providers=[CPU])
    )
    with pytest.raises(RequestError, match="CUDA libraries are missing"):
        GraphSession(tiny[0] / "embed.onnx", device="cuda")
    assert open_sessions({"embed": tiny[0] / "embed.onnx"}, "auto")["embed"].provider == CPU
    assert GraphSession(tiny[0] / "embed.onnx", device="auto").provider == CPU


@pytest.mark.parametrize(
    ("says", "wanted"), [("150000 100000", 2), ("50000 100000", 1), ("max 100000", 4), ("nonsense", 4)]
)
def test_cores_are_those_that_the_process_may_use(monkeypatch: pytest.MonkeyPatch, says: str, wanted: int) -> None:
    """Eight hyperthreads of four cores, and what the control group gives of them."""

    def read(path: str, default: object = "") -> str:
        if "topology" in path:
            return str(int(str(default)) % 4)
        return says if path.endswith("cpu.max") else ""

    monkeypatch.setattr(sessions, "_read", read)
    monkeypatch.setattr(sessions.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert cores.__wrapped__() == wanted
