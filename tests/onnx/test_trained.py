# ruff: noqa: E402
"""What of a run is exported, whatever it has trained: an encoder alone, a voice without a Thinker, all of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")

import torch
from torch import nn

from muomni_cli.api import RequestError
from muomni_cli.contract.codecs import code_shape
from muomni_cli.core.files import write_sealed_json
from muomni_cli.omni import OmniModel
from muomni_cli.registry.entries import part_entry
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.runs.checkpoint import build_part, model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder
from muomni_onnx.bundle import open_bundle
from muomni_onnx.check import check
from muomni_onnx.export import export
from muomni_onnx.graphs import Model
from muomni_onnx.sources import Trained, find_trained, model_of, model_of_recipe

MEL = {"sample_rate": 8000, "n_fft": 256, "window": 160, "hop": 40, "n_mels": 20}
SIZES: dict[str, tuple[str, dict[str, Any]]] = {
    "thinker": ("transformer", {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32, "ctx_len": 32}),
    "image": ("vit", {"size": 16, "patch": 8, "d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}),
    "audio": ("listener", {"n_mels": 16, "channels": 4, "d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}),
    "codec": ("rvq", {"mel": MEL, "codebook_size": 16, "code_dim": 8, "width": 24, "fine_width": 16}),
    "talker": ("cursor", {"d_text": 16, "text_layers": 1, "d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32}),
    "vocoder": ("vocos", {"channels": 16, "layers": 1, "hidden": 24}),
}
RECIPE = """
[codec]
use = "rvq"

[vocoder]
use = "{vocoder}"
"""


def chosen(stage: str) -> tuple[Any, Any]:
    use, sizes = SIZES[stage]
    registered = get_registry().get("encoder" if stage in ("image", "audio") else stage, use)
    return registered, registered.part.config.model_validate(sizes)


class Run:
    """A run in which stages are recorded as training records them, with random weights."""

    def __init__(self, root: Path, vocoder: str = "griffin-lim") -> None:
        self.run = RunFolder(root)
        root.mkdir(parents=True)
        self.run.recipe_path.write_text(RECIPE.format(vocoder=vocoder))
        torch.manual_seed(1)

    def learn(self, stage: str, **more: Any) -> Any:
        """Train a stage by itself."""
        registered, config = chosen(stage)
        told = {name: value for name, value in more.items() if name != "head_metadata"}
        entry = part_entry(registered, config, f"{stage}/best.safetensors", **more)
        part = registered.part
        if getattr(part, "head_graphs", None) is None:
            module = build_part(registered, config, told)
        elif part.predictor is not None:
            module = resolve(part.predictor)(config, entry.get("head_metadata", {}))
        else:
            module = resolve(part.transcribe)(config)
        self._write(stage, nn.ModuleDict({"vocoder": module}) if stage == "vocoder" else module)
        self.run.record(stage, {"status": "finished"}, entry)
        return module

    def tune(self, **encoders: nn.Module) -> None:
        """Train the Thinker together with these encoders."""
        bytes_ = get_registry().get("tokenizer", "bytes")
        resolve(str(bytes_.part.objective))(bytes_.part.config(), iter(())).save(self.run.stage("tokenizer"))
        told = part_entry(bytes_, bytes_.part.config(), "tokenizer")
        self.run.record("tokenizer", {"status": "finished"}, told)
        entries = {"thinker": part_entry(*chosen("thinker"), "", vocab_size=262)}
        thinker = build_part(*chosen("thinker"), {"vocab_size": 262})
        entries |= {name: part_entry(*chosen(name), "") for name in encoders}
        self._write("omni", OmniModel(thinker, encoders))  # type: ignore[arg-type]
        self.run.record("omni", {"status": "finished", "parts": entries})

    def speak(self, *stages: str) -> None:
        """Train a codec, and some of what speaks with it."""
        codec = self.learn("codec")
        mel = codec.mel.model_dump(mode="json")
        told = {"codes": asdict(code_shape(codec)), "voices": ["ann"], "thinker_width": 0}
        for stage in stages:
            self.learn(stage, **(told if stage == "talker" else {"mel": mel}))

    def model(self, *, partial: bool = False) -> Model:
        return model_of(Trained(self.run), partial=partial)

    def _write(self, stage: str, module: nn.Module) -> None:
        write_checkpoint(self.run.stage(stage) / "best.safetensors", {"step": 7}, {"model": model_tensors(module)})


def graphs_of(model: Model) -> dict[str, list[str]]:
    return {part.name: [graph.name for graph in part.graphs] for part in model.parts}


def test_an_encoder_is_exported_alone_with_the_head_that_it_learned(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.learn("image", head_metadata={"learn": "labels", "classes": ["cat", "dog"]})
    model = run.model()
    assert graphs_of(model) == {"image": ["encoder", "head"]}
    export(model, tmp_path / "bundle", notify=print)
    manifest = open_bundle(tmp_path / "bundle").manifest
    assert manifest["tokenizer"] is None
    assert manifest["parts"]["image"]["head_metadata"]["classes"] == ["cat", "dog"]
    assert manifest["provenance"]["checkpoints"] == {"image/best.safetensors": 7}
    assert len(check(tmp_path / "bundle")) == 2


@pytest.mark.parametrize("tuned", [False, True])
def test_an_encoder_that_was_tuned_further_is_exported_as_its_own_stage_left_it_too(
    tmp_path: Path, tuned: bool
) -> None:
    run = Run(tmp_path / "run")
    recognizer = run.learn("audio")
    if tuned:
        with torch.no_grad():
            recognizer.encoder.norm.weight.add_(0.1)
    run.tune(audio=recognizer.encoder)
    modality = ["encoder", "projector"]
    expected = {"audio": modality, "audio-alone": ["encoder", "head"]} if tuned else {"audio": [*modality, "head"]}
    assert graphs_of(run.model()) == {"thinker": ["embed", "thinker"], **expected}


def test_a_voice_needs_no_thinker_and_its_vocoder_no_training(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.speak("talker")
    model = run.model()
    assert list(graphs_of(model)) == ["codec", "talker", "vocoder"]
    assert model.parts[2].entry["use"] == "griffin-lim"
    assert model.parts[2].entry["mel"]["hop"] == 40
    assert model.tokenizer is None


def test_a_vocoder_that_is_not_trained_yet_is_missed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run", vocoder="vocos")
    run.speak("talker")
    with pytest.raises(RequestError, match=r"the vocoder vocos .* is not trained"):
        run.model()
    assert list(graphs_of(run.model(partial=True))) == ["codec", "talker"]
    run.learn("vocoder", mel=run.run.model()["parts"]["codec"]["config"]["mel"])
    assert list(graphs_of(run.model())) == ["codec", "talker", "vocoder"]


def test_parts_of_different_codecs_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    run.speak("talker")
    entry = run.run.model()["parts"]["talker"]
    run.run.record("talker", {}, {**entry, "codes": {**entry["codes"], "seconds": 0.1}})
    with pytest.raises(RequestError, match="for a different codec"):
        run.model()


@pytest.mark.usefixtures("no_model")
def test_a_run_is_found_by_what_is_named_or_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MUOMNI_MODEL", raising=False)
    with pytest.raises(RequestError, match="has trained anything"):
        find_trained(runs=tmp_path)
    for name in ("first", "second"):
        Run(tmp_path / name).learn("codec")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "model.json").write_text("{")
    assert find_trained(runs=tmp_path).run.name == "second"
    named = tmp_path / "first" / "codec" / "best.safetensors"
    assert find_trained(str(named), tmp_path).engine().checkpoint("codec") == named
    (tmp_path / "empty").mkdir()
    write_sealed_json(tmp_path / "empty" / "model.json", {})
    with pytest.raises(RequestError, match="has trained nothing"):
        model_of(find_trained("empty", tmp_path))


def test_a_recipe_is_exported_with_random_weights() -> None:
    small = [f"thinker.{key}={value}" for key, value in SIZES["thinker"][1].items()]
    small += [f"{part}.n_layers=1" for part in ("talker", "encoders.image", "encoders.audio")]
    model = model_of_recipe("omni", small)
    assert list(graphs_of(model)) == ["thinker", "image", "audio", "codec", "talker", "vocoder"]
    assert graphs_of(model)["audio"] == ["encoder", "head", "projector"]
    assert model.provenance["untrained"] is True
    assert model.tokenizer is not None
