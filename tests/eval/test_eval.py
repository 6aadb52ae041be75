"""``muomni eval``: what tiny trained models are scored by, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import RequestError
from muomni_cli.commands.train import train
from muomni_cli.data.sources import open_sources
from muomni_cli.data.text import ValidationText, open_text
from muomni_cli.models.engines import open_run
from muomni_cli.recipe.load import load_recipe
from muomni_cli.registry.registry import get_registry
from muomni_cli.runs.run import RunFolder
from muomni_cli.training.objectives import summed_loss, to_batch

Run = Callable[..., tuple[int, str, str]]


def by_name(out: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    return {(result["stage"], result["task"], result["metric"]): result for result in json.loads(out)}


def test_an_overfitted_model_is_perfect_at_all_of_it(run: Run) -> None:
    code, out, err = run("small", "--split", "train", "--json", "--limit", "24")
    assert code == 0, err
    results = by_name(out)
    assert set(results) == {
        ("thinker", "text", "bits_per_byte"),
        ("image", "colours", "accuracy"),
        ("audio", "tones", "exact"),
        ("audio", "tones", "choice"),
        ("omni", "text", "bits_per_byte"),
        ("omni", "world", "exact"),
        ("omni", "world/image", "exact"),
        ("omni", "world/audio", "exact"),
        ("omni", "world/image", "exchanged"),
        ("omni", "world/audio", "exchanged"),
    }
    for name, result in results.items():
        if name[1] != "text":
            assert (result["value"], result["high"]) == (1.0, 1.0), name
            assert result["low"] < 1.0, name  # however perfect, these are few
    assert results["image", "colours", "accuracy"]["n"] == 6
    assert results["image", "colours", "accuracy"]["baseline"] == pytest.approx(1 / 3)
    assert results["audio", "tones", "choice"]["baseline"] == 0.5
    assert results["audio", "tones", "exact"]["baseline"] is None
    assert results["omni", "world", "exact"]["n"] == 24


@pytest.mark.parametrize("stage", ["thinker", "omni"])
def test_text_is_measured_as_training_validates_it(run: Run, stage: str) -> None:
    code, out, err = run("small.toml", "--stage", stage, "--json")
    assert code == 0, err
    engine = open_run(RunFolder(Path("runs/small")), device="cpu").at(stage)
    thinker, tokenizer, recipe = engine.omni().thinker, engine.tokenizer(), load_recipe("small.toml")
    streams = open_text(recipe, tokenizer, lambda _: None).val
    text = ValidationText(streams, tokenizer, int(thinker.config.ctx_len), batch_size=12)
    found = text.measure(lambda window: summed_loss(thinker, to_batch(window.tokens, window.mask).tensors))
    assert by_name(out)[stage, "text", "bits_per_byte"]["value"] == pytest.approx(found["bits_per_byte"], rel=1e-6)


@pytest.mark.usefixtures("run")
def test_a_stage_that_trains_no_thinker_has_none() -> None:
    engine = open_run(RunFolder(Path("runs/small")), device="cpu")
    assert engine.thinker_stages == ["thinker", "omni"]
    with pytest.raises(RequestError, match="no Thinker of the stage image"):
        engine.at("image")


FILES = "set:mnist/t10k-images-idx3-ubyte.gz", "set:mnist/t10k-labels-idx1-ubyte.gz"
MISSING = 'data.image.0={{use="idx", images="{}", labels="{}"}}'.format(*FILES)


def test_missing_public_datasets_are_named_with_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUOMNI_DATA", "nowhere")
    code, _, err = run("small.toml", MISSING, "--json", "--limit", "1")
    assert code == 0, err
    assert "left out: idx of [[data.image]]: missing: mnist (12 MB)" in err
    assert err.rstrip().endswith("public datasets are missing; get them with: muomni data get mnist")
    code, _, err = run("small.toml", MISSING, "--stage", "image")
    assert code == 2
    assert err.rstrip().endswith("fix: muomni data get mnist")
    assert "muomni data get" not in run("small.toml", MISSING, "--stage", "audio", "--limit", "1")[2]


def test_held_out_examples_are_what_is_asked_by_default(run: Run) -> None:
    code, out, _ = run("small.toml", "--json")
    assert code == 0
    results = by_name(out)
    assert results["image", "colours", "accuracy"]["n"] == 3
    assert results["audio", "tones", "choice"]["n"] == 4
    assert results["omni", "world", "exact"]["n"] == 24
    kinds = [results["omni", f"world/{kind}", "exact"]["n"] for kind in ("image", "audio")]
    assert sum(kinds) == 24


def test_a_card_is_a_line(run: Run) -> None:
    code, out, _ = run("small", "--limit", "2")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].split()[:4] == ["STAGE", "TASK", "METRIC", "VALUE"]
    assert any(line.startswith("image") and "colours" in line and "accuracy" in line for line in lines)
    assert run("small", "--limit", "2")[1] == out


def test_captions_are_compared_word_for_word(run: Run) -> None:
    train("image", "small.toml", ['encoders.image.learn="captions"', "train.image.steps=150"], run="captions")
    code, out, _ = run("small.toml", "-m", "captions", "--split", "train", "--json")
    assert code == 0
    result = by_name(out)["image", "colours", "exact"]
    assert (result["value"], result["baseline"]) == (1.0, None)


def test_contrast_is_asked_to_choose(run: Run) -> None:
    train("image", "small.toml", ['encoders.image.learn="contrast"', "train.image.steps=2"], run="contrast")
    code, out, err = run("small.toml", "-m", "contrast", "--json")
    assert code == 0
    assert by_name(out)["image", "colours", "retrieval"]["baseline"] == pytest.approx(1 / 3)
    assert "left out: omni is not trained" in err


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("nothing",), "nothing"),
        (("small", "-m", "nobody"), "there is no model 'nobody'"),
        (("small.toml", "data.image.0.path=nowhere", "--stage", "image"), "nowhere"),
        (("small", "--split", "test"), "there is no split 'test'"),
        (("small.toml", "-m", "text"), "nothing of run runs/text can be evaluated"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], what: str, run: Run) -> None:
    if "text" in words and not Path("runs/text").exists():
        train("tokenizer", "small.toml", run="text")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert what in err
    assert "Traceback" not in err


def test_an_encoder_without_answers_is_refused(run: Run) -> None:
    from muomni_cli.registry.registry import get_registry

    part = get_registry().get("encoder", "vit").part
    train("image", "small.toml", ["train.image.steps=1"], run="eyes")
    answer = part.predictor  # type: ignore[attr-defined]
    object.__setattr__(part, "predictor", None)  # a declaration is frozen
    try:
        code, _, err = run("small.toml", "-m", "eyes")
    finally:
        object.__setattr__(part, "predictor", answer)
    assert code == 2
    assert "image (vit) gives no answers" in err


def test_data_for_measuring_alone_teach_nothing(run: Run) -> None:
    text = Path("small.toml").read_text("utf-8")
    more = '[[data.image]]\nuse = "folder"\npath = "pictures"\ntask = "again"\neval_only = true\n'
    Path("measured.toml").write_text(text.replace("[[data.image]]", more + "\n[[data.image]]", 1), "utf-8")
    before, after = load_recipe("small.toml"), load_recipe("measured.toml")
    assert [one.name for one in open_sources(after, "image")] == [one.name for one in open_sources(before, "image")]
    code, out, _ = run("measured.toml", "-m", "small", "--stage", "image", "--json")
    assert code == 0
    results = by_name(out)
    assert {name[0] for name in results} == {"image"}
    assert results["image", "again", "accuracy"]["n"] == 9  # all of them, whatever their hash says
    assert results["image", "colours", "accuracy"]["n"] == 3


def test_data_that_are_not_here_cost_their_own_cards(run: Run) -> None:
    text = Path("small.toml").read_text("utf-8")
    more = '[[data.image]]\nuse = "tar"\npath = "nowhere.tar"\ntask = "gone"\neval_only = true\n'
    Path("gone.toml").write_text(text.replace("[[data.image]]", more + "\n[[data.image]]", 1), "utf-8")
    code, out, err = run("gone.toml", "-m", "small", "--stage", "image", "--json")
    assert code == 0
    assert set(by_name(out)) == {("image", "colours", "accuracy")}
    assert "gone of [[data.image]]" in err


def test_a_program_that_is_not_here_costs_its_own_cards(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    text = Path("small.toml").read_text("utf-8")
    more = '[[data.audio]]\nuse = "spoken"\nprogram = "flite"\nwords = ["yes", "no"]\ntask = "said"\neval_only = true\n'
    Path("mute.toml").write_text(text.replace("[[data.audio]]", more + "\n[[data.audio]]", 1), "utf-8")
    monkeypatch.setenv("PATH", "")
    code, out, err = run("mute.toml", "-m", "small", "--stage", "audio", "--json")
    assert code == 0
    assert {name[1] for name in by_name(out)} == {"tones"}
    assert "said of [[data.audio]]: flite, which speaks these texts, is not installed" in err


def test_a_page_shows_what_was_seen_and_heard(run: Run) -> None:
    code, _, err = run("-m", "small", "--stage", "image", "--stage", "audio", "--html", "cards.html")
    assert code == 0
    assert "wrote cards.html" in err
    page = Path("cards.html").read_text("utf-8")
    assert "data:image/png;base64," in page
    assert "data:audio/wav;base64," in page


def test_a_plugin_makes_cards_of_its_own(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("short_cards.py").write_text(
        '"""Cards about lengths."""\n'
        "from muomni_cli.api import MetricSet, RequestError, hookimpl\n\n\n"
        "@hookimpl\n"
        "def register_metrics():\n"
        '    make = "short_cards:make"\n'
        '    return [MetricSet(name="short", doc="counts", stages=("image",), make=make),\n'
        '            MetricSet(name="torn", doc="fails", stages=("image",), make="short_cards:torn")]\n\n\n'
        "def make(evaluation, stage):\n"
        '    yield evaluation.card(stage, "mine", "share", [1.0, 0.0], ["a", "b"])\n\n\n'
        "def torn(evaluation, stage):\n"
        '    raise RequestError("no data for it", "get some")\n'
        "    yield\n"
    )
    monkeypatch.setenv("MUOMNI_PLUGINS", "short_cards.py")
    get_registry.cache_clear()
    try:
        code, out, err = run("-m", "small", "--stage", "image", "--json")
    finally:
        get_registry.cache_clear()
    assert code == 0
    assert by_name(out)["image", "mine", "share"]["value"] == 0.5
    assert "no data for it" in err
