"""The measuring itself, on work whose length is known, and the commands on a model small enough to run here."""

from __future__ import annotations

import json

import pytest

from muomni_cli.app import main
from muomni_cli.bench import report as measure
from muomni_cli.bench.report import Comparison, Measurement, Scaling, alternate


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


def test_what_is_expected_of_several_processes() -> None:
    # Steps of 100 items: 1 s alone, 0.6 s for a half; two thirds of that, 0.4 s, hide a part of the reduction.
    def scaling(reduction: float) -> Scaling:
        rounds = (("2 processes", 150.0), ("1 process", 100.0), ("shares", 100 / 0.6))
        return Scaling(tuple(Measurement(n, (r, r / 2), 200) for n, r in rounds), bytes=8, reduction=reduction)

    assert scaling(0.3).expected(2) == pytest.approx(1 / 0.6)
    assert scaling(0.5).expected(2) == pytest.approx(1 / 0.7)
    assert scaling(0.5).speedup == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--vary", "batch=2"], "--devices measures one setting, and no peer: --vary"),
        (["--vs-transformers"], "leave --vs-transformers out"),
    ],
)
def test_several_processes_are_measured_alone(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "train", *SMALL, "--devices", "2", *words])
    assert exit_.value.code == 2
    assert said in capsys.readouterr().err


@pytest.mark.slow
def test_two_processes_are_measured_against_one(capfd: pytest.CaptureFixture[str]) -> None:
    size = ["--batch", "4", "--length", "8", "--steps", "1", "--rounds", "2", "--device", "cpu", "--threads", "1"]
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "train", *SMALL, *size, "--devices", "2", "--json"])
    assert exit_.value.code == 0
    (line,) = json.loads(capfd.readouterr().out)["lines"]
    assert [one["name"] for one in line["contestants"]] == ["2 processes", "1 process", "shares, no reduction"]
    assert [one["items"] for one in line["contestants"]] == [32, 32, 32]
    assert min(line["bytes"], line["speedup"], line["reduction"], *line["cpu"]) > 0
    with pytest.raises(SystemExit) as exit_:
        main(["bench", "train", *SMALL, *size, "--batch", "3", "--devices", "2"])
    assert exit_.value.code == 2
    told = capfd.readouterr().err
    assert told.count("a batch of 3 cannot be shared evenly by 2 processes") == 1
    assert "write --batch 4" in told


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
