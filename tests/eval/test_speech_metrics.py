"""``muomni eval`` of the stages that make speech: what is understood of the originals, and after each part."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_cli.commands.train import train
from muomni_cli.contract.speech import most_frames
from muomni_cli.eval.speech import hop_bend, hop_profile, shuffled
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.entries import part_entry
from muomni_cli.runs.checkpoint import build_part, model_tensors, write_checkpoint
from muomni_cli.runs.run import RunFolder
from muomni_cli.speech.asr import words_of
from muomni_cli.training.context import TrainingContext, part_arguments
from tests.eval.conftest import Run, evaluation_in

if TYPE_CHECKING:
    from muomni_cli.recipe.model import Recipe

pytestmark = pytest.mark.long

RECIPE = """
[codec]
use = "rvq"
codebook_size = 8
code_dim = 8
width = 16
encoder_layers = 1
decoder_layers = 1
fine_width = 16

[[data.speech]]
use = "spoken"
task = "digits"
patterns = ["{d} {d} {d}"]
slots = { d = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"] }
voices = ["slt"]
count = 40

[data]
val_fraction = 0.3

[train]
device = "cpu"
threads = 1
precision = "fp32"
batch_size = 2
steps = 2
warmup_steps = 1
log_every = 50
val_every = 1000
save_every = 1000
sample_every = 1000
"""

TALKER = """
[talker]
use = "cursor"
d_text = 16
text_layers = 1
d_model = 16
n_layers = 1
n_heads = 2
d_ff = 16
"""
VOCODER = '\n[vocoder]\nuse = "griffin-lim"\niterations = 16\n'


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the recipe ``test_config``, and its run, whose codec has hardly learnt anything."""
    if shutil.which("flite") is None:
        pytest.skip("the program flite, which says what is judged, is not installed")
    folder = tmp_path_factory.mktemp("spoken")
    (folder / "small.toml").write_text(RECIPE + VOCODER)
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MUOMNI_CACHE", str(folder / "cache"))
        train("codec", "small.toml")
    return folder


@pytest.fixture
def run(spoken: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run("small", "--json")`` gives the exit code, stdout and stderr."""
    return evaluation_in(spoken, monkeypatch, capsys)


def by_name(out: str) -> dict[tuple[str, str], dict[str, Any]]:
    return {(result["stage"], result["metric"]): result for result in json.loads(out)}


def test_the_original_and_its_copy_are_understood_and_a_fresh_codec_is_not(run: Run) -> None:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[eval]")
    code, out, err = run("small.toml", "--json", "--limit", "6")
    assert code == 0, err
    results = by_name(out)
    assert {stage for stage, _ in results} == {"codec", "vocoder"}
    assert {metric for stage, metric in results if stage == "codec"} == {
        "mel_l1", "use_1", "use_2", "wer_original", "wer_resynthesis", "wer_added",
    }  # fmt: skip
    for result in results.values():
        assert result["task"] == "digits"
        assert result["n"] == (6 if result["low"] is not None else None)
    for stage, metric in (("codec", "wer_original"), ("vocoder", "wer_original"), ("vocoder", "wer_copy")):
        result = results[stage, metric]
        assert result["value"] <= 0.1
        assert result["low"] <= result["value"] <= result["high"]
        assert result["unit"] == "sentence"
    lost = results["codec", "wer_resynthesis"]
    assert lost["value"] > 0.5
    assert results["codec", "wer_added"]["value"] == lost["value"] - results["codec", "wer_original"]["value"]
    edits, words = (sum(one[key] for one in lost["sentences"]) for key in ("edits", "words"))
    assert (words, edits / words) == (18, lost["value"])
    assert all(len(one["text"].split()) == 3 and isinstance(one["heard"], str) for one in lost["sentences"])
    assert 0 < results["vocoder", "mel_l1"]["value"] < results["codec", "mel_l1"]["value"]
    assert 1 / 8 <= results["codec", "use_1"]["value"] <= 1


def test_without_a_judge_the_other_cards_are_there(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from muomni_cli.speech.asr import english

    english.cache_clear()
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    code, out, err = run("small.toml", "--json", "--limit", "2")
    assert code == 0, err
    codec, vocoder = ("mel_l1", "use_1", "use_2"), ("mel_l1", "hop_bend")
    assert set(by_name(out)) == {*(("codec", name) for name in codec), *(("vocoder", name) for name in vocoder)}
    assert err.count("pip install 'muomni[eval]'") == 1


def test_a_talker_is_heard_beside_its_codec_and_its_teacher(run: Run, spoken: Path) -> None:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[eval]")
    Path("talking.toml").write_text(f'name = "small"\n{RECIPE}{VOCODER}{TALKER}')
    leave_talker(load_recipe("talking.toml"), RunFolder(spoken / "runs/small"))
    code, out, err = run("talking.toml", "--json", "--limit", "3")
    assert code == 0, err
    results = {metric: result for (stage, metric), result in by_name(out).items() if stage == "talker"}
    assert set(results) == {
        "wer_original", "wer_resynthesis", "wer_spoken", "wer_added", "wer_shuffled", "length_median", "length_min",
        "length_max", "at_bound", "hop_bend",
    }  # fmt: skip
    assert results["wer_original"]["value"] <= 0.1
    assert results["wer_spoken"]["value"] > 0.5  # it has learnt nothing
    assert results["wer_shuffled"]["n"] <= 3
    said = {one["text"] for one in results["wer_spoken"]["sentences"]}
    assert {one["text"] for one in results["wer_shuffled"]["sentences"]} <= said
    lengths = [results[f"length_{name}"]["value"] for name in ("min", "median", "max")]
    assert 0 < lengths[0] <= lengths[1] <= lengths[2]
    assert 0 <= results["at_bound"]["value"] <= 1


def leave_talker(recipe: Recipe, run: RunFolder) -> None:
    """Leave a Talker with random weights as training would."""
    chosen, settings = recipe.talker, recipe.train_for("talker")
    assert chosen is not None
    context = TrainingContext(recipe, "talker", settings, 0, torch.device("cpu"), run)
    arguments = part_arguments(recipe, "talker", context)
    torch.manual_seed(0)
    module = build_part(chosen.registered, chosen.config, arguments)
    write_checkpoint(run.stage("talker") / "last.safetensors", {"step": 1}, {"model": model_tensors(module)})
    entry = part_entry(chosen.registered, chosen.config, "talker/last.safetensors", **arguments)
    run.record("talker", {"status": "finished"}, entry)


def test_shuffled_words_are_the_same_words_in_another_order() -> None:
    text = "Don't open the old, old door!"
    turned = {shuffled(text, seed) for seed in range(20)}
    assert len(turned) > 10
    assert all(sorted(one.split()) == sorted(words_of(text)) for one in turned)
    assert " ".join(words_of(text)) not in turned
    assert shuffled(text, 3) == shuffled(text, 3)
    assert shuffled("one one two", 0) in ("one two one", "two one one")


@pytest.mark.parametrize(("words", "frames"), [(1, 50), (2, 60), (10, 300), (34, 1000)])
def test_the_bound_is_the_specifications(words: int, frames: int) -> None:
    assert most_frames(words) == frames


@settings(max_examples=30, deadline=None)
@given(st.sampled_from([80, 160, 256]), st.floats(0.002, 0.05), st.floats(0, 0.999), st.integers(0, 99))
def test_the_bend_tells_a_buzz_at_any_place_of_the_hops_from_none(
    hop: int, size: float, place: float, seed: int
) -> None:
    smooth = np.convolve(np.random.default_rng(seed).standard_normal(400 * hop), np.hanning(9) / 5, "same") * 0.1
    buzzing = smooth.copy()
    buzzing[int(place * hop) :: hop] += 20 * size  # a click in every hop
    even, marked = (hop_bend([hop_profile(wave.astype(np.float32), hop)]) for wave in (smooth, buzzing))
    assert even is not None
    assert marked is not None
    assert 1 <= even < 1.3
    assert marked > even
    silence = hop_profile(np.zeros(20 * hop, np.float32), hop)
    assert silence.shape == (hop,)
    assert hop_bend([silence]) is None
    assert hop_bend([]) is None


def test_the_bend_of_several_recordings_is_that_of_all_their_hops() -> None:
    random = np.random.default_rng(0)
    parts = [random.standard_normal(count * 160).astype(np.float32) for count in (50, 200)]
    profiles = [hop_profile(part, 160) for part in parts]
    whole = sum(profiles)
    assert hop_bend(profiles) == pytest.approx(float(whole.max() / whole.mean()))
    assert hop_bend(profiles) < max(hop_bend([one]) for one in profiles)


def test_training_can_ask_how_its_codec_sounds(spoken: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pocketsphinx", reason="the judge is pocketsphinx, of muomni[eval]")
    monkeypatch.chdir(spoken)
    monkeypatch.setenv("MUOMNI_CACHE", str(spoken / "cache"))
    recipe, told = load_recipe("small.toml"), list[str]()
    run = RunFolder(spoken / "runs/small")
    context = TrainingContext(recipe, "codec", recipe.train_for("codec"), 0, torch.device("cpu"), run, told.append)
    found = context.understood(context.codec())
    assert set(found) == {"wer_original", "wer"}
    assert found["wer_original"] <= 0.1
    assert found["wer"] > 0.5
    assert context.understood(context.codec()) == found
    assert told == []


@pytest.mark.slow
def test_cards_of_speech_without_pytorch_are_those_of_the_run(
    run: Run, spoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("onnx", "onnxscript", "onnxruntime"):
        pytest.importorskip(package, reason=f"{package} is not installed: pip install 'muomni[onnx]'")
    from muomni_onnx.export import export
    from muomni_onnx.sources import find_trained, model_of

    once = VOCODER.replace("16", "1")  # each iteration is a part of the graph
    Path("quick.toml").write_text(f'name = "quick"\n{RECIPE}{once}{TALKER}')
    quick = RunFolder(Path(shutil.copytree(spoken / "runs/small", spoken / "runs/quick")))
    quick.recipe_path.write_text(Path("quick.toml").read_text())
    leave_talker(load_recipe("quick.toml"), quick)
    export(model_of(find_trained("quick")), spoken / "packed", notify=lambda _: None)
    monkeypatch.setattr("muomni_cli.eval.speech.wer_evaluator", lambda *_: None)  # nobody judges: faster
    words = "quick.toml", "--json", "--limit", "2"
    theirs, ours = (by_name(run(*words, *more)[1]) for more in ((), ("-m", "packed")))
    assert {stage for stage, _ in ours} == {"codec", "vocoder", "talker"}
    assert ours.keys() == theirs.keys()
    for name, result in ours.items():
        # Griffin-Lim's phases are chaotic: an error of rounding becomes another sound, about as good.
        rel = 0.05 if name == ("vocoder", "mel_l1") or name[1] == "hop_bend" else 1e-4
        assert result["value"] == pytest.approx(theirs[name]["value"], rel=rel)
        assert result["n"] == theirs[name]["n"]
