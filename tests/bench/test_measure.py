"""The measuring itself, on work whose length is known, and the commands on a model small enough to run here."""

from __future__ import annotations

import json

import pytest

from muomni_cli.app import main
from muomni_cli.bench import report as measure
from muomni_cli.bench.report import Comparison, Measurement, alternate


def test_contestants_take_turns_and_warm_up_uncounted() -> None:
    order: list[str] = []

    def work(name: str) -> int:
        order.append(name)
        return 1

    comparison = alternate({"a": lambda: work("a"), "b": lambda: work("b")}, rounds=2, warmup=1)
    assert order == ["b", "a", "a", "b", "b", "a"]
    assert [len(one.rates) for one in comparison.contestants] == [2, 2]


def test_rates_are_items_over_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 2.0, 10.0, 14.0])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(clock))
    comparison = alternate({"ours": lambda: 8, "theirs": lambda: 8}, rounds=1, warmup=0)
    assert [one.rate for one in comparison.contestants] == [4.0, 2.0]
    assert comparison.ratio("theirs") == 2.0


def test_the_ratio_is_taken_round_by_round() -> None:
    # The machine slows down tenfold between the rounds; within each, ours is twice as fast.
    comparison = Comparison(
        (Measurement("ours", (200.0, 20.0, 200.0), 1), Measurement("theirs", (100.0, 10.0, 100.0), 1))
    )
    assert comparison.ratios("theirs") == [2.0, 2.0, 2.0]


SMALL = ["omni", "tokenizer.vocab_size=300", "thinker.d_model=16", "thinker.n_layers=1", "thinker.d_ff=32"]


@pytest.mark.parametrize("verb", ["train", "generate"])
def test_a_benchmark_from_the_command_line(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--length", "8", "--steps", "1"] if verb == "train" else ["--prompt", "4", "--tokens", "6"]
    words = ["bench", verb, *SMALL, *size, "--vs-transformers", "--rounds", "2", "--vary", "batch=3", "--json"]
    with pytest.raises(SystemExit) as exit_:
        main(words)
    assert exit_.value.code == 0
    report = json.loads(capsys.readouterr().out)
    assert [line["setting"] for line in report["lines"]][1:] == ["batch=3"]
    for line, rows in zip(report["lines"], (8 if verb == "train" else 1, 3), strict=True):
        names = [one["name"] for one in line["contestants"]]
        assert names == ["muomni", "transformers"]
        expected = rows * (8 if verb == "train" else 6)
        assert [one["items"] for one in line["contestants"]] == [expected, expected]
        assert line["ratio"]["transformers"] > 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vary", "batch=none"], "invalid setting 'batch=none'"),
        (["--vary", "thinker.n_layer=2"], "did you mean 'n_layers'?"),
        (["thinker.qk_norm=true", "--vs-transformers"], "Llama has no QK norm"),
    ],
)
def test_wrong_settings_are_named(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "generate", *SMALL, "--prompt", "4", "--tokens", "2", "--rounds", "1", *words])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


EARS = ["n_mels=16", "n_fft=256", "window=160", "channels=4", "d_model=16", "n_layers=1", "n_heads=2", "d_ff=32"]
EYES = ["size=32", "d_model=16", "n_layers=1", "n_heads=2", "d_ff=32"]
ENCODERS = [*(f"encoders.audio.{word}" for word in EARS), *(f"encoders.image.{word}" for word in EYES)]


@pytest.mark.parametrize("versus", [True, False])
def test_encoders_from_the_command_line(
    versus: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("muomni_cli.bench.report.ROUND_SECONDS", 0.001)
    words = ["--vs-transformers"] if versus else []
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "encode", "omni", *ENCODERS, *words, "--rounds", "2", "--batch", "3", "--steps", "2", "--json"])
    assert exit_.value.code == 0
    lines = {line["setting"]: line for line in json.loads(capsys.readouterr().out)["lines"]}
    assert list(lines) == [
        "image: one image",
        "image: training on 3 x one image",
        "audio: one second",
        "audio: one minute",
        "audio: training on 3 x one second",
    ]
    for setting, line in lines.items():
        names = [one["name"] for one in line["contestants"]]
        theirs = ["transformers"] if setting.startswith("image") else ["transformers", "transformers-half"]
        assert names == ["muomni", *(theirs if versus else [])]
        assert set(line["ratio"]) == set(names[1:])
        assert len({one["items"] for one in line["contestants"]}) == 1
        if "training" in setting:
            assert line["contestants"][0]["items"] == 6


def test_a_recipe_without_encoders_has_none_to_measure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "encode", "stories", "--rounds", "1"])
    assert exit_.value.code == 2
    assert "has no encoder to measure" in capsys.readouterr().err
