"""What a trace says is what happens: logits, statistics, answers; and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from runs_of_tiny_parts import make_run
from torch import Tensor, nn

from muomni_cli.api import Capability, EncoderOutput, EncoderPart, FileMedia, MuomniError, PartConfig, Step
from muomni_cli.data.media import Modality
from muomni_cli.inference.chat_model import chat_model
from muomni_cli.inference.settings import settings_of
from muomni_cli.models.engines import open_run
from muomni_cli.models.torch_engine import TorchEngine
from muomni_cli.models.untrained_engine import recipe_engine
from muomni_cli.omni import OmniModel
from muomni_cli.runs.run import RunFolder
from muomni_cli.trace.recorder import TensorRecorder, TraceStep, default_steps, statistics_of
from muomni_cli.trace.report import as_json, as_markdown, as_text
from muomni_cli.trace.trace import trace_question

Command = Callable[..., tuple[int, str, str]]
Steps = Callable[..., list[dict[str, Any]]]
MEDIA = [FileMedia("image", Path("x.png")), FileMedia("audio", Path("y.wav"))]


def quiet(_: str) -> None: ...


def tiny() -> TorchEngine:
    return open_run(RunFolder(Path("runs/tiny")), device="cpu")


def traced(engine: TorchEngine, text: str, media: Sequence[Any] = (), tokens: int = 4) -> list[dict[str, Any]]:
    return as_json(trace_question(engine, text, media, tokens, quiet).steps)


def logits_of_chat(engine: TorchEngine, text: str, media: Sequence[Any]) -> Any:
    """(V,) logits after the question, as ``muomni chat`` computes them."""
    model = chat_model(engine)
    ids = model.prompt(text, media, settings_of(engine, {}))
    return model.backend.begin([ids], len(ids))[1][0]


@pytest.mark.parametrize("template", ["plain", "roles"])
@pytest.mark.parametrize("media", [[], MEDIA, MEDIA[:1], [MEDIA[1], MEDIA[0], MEDIA[1]]])
def test_the_logits_are_those_of_chat(template: str, media: list[FileMedia], here: Path) -> None:
    make_run(here / "runs" / "tiny", modalities=("image", "audio"), template=template)
    engine = tiny()
    chat = logits_of_chat(engine, "hello", media)
    (last,) = (s for s in traced(engine, "hello", media) if s["step"] == "last place")
    expected = {"mean": chat.mean(), "std": chat.std(), "min": chat.min(), "max": chat.max()}
    assert last["statistics"] == pytest.approx(expected, rel=1e-4, abs=1e-6)
    (likely,) = (s for s in traced(engine, "hello", media) if s["step"] == "probabilities")
    weights = torch.from_numpy(chat).double().softmax(-1)
    best = weights.topk(5)
    assert [one["token"] for one in likely["likeliest"]] == best.indices.tolist()
    assert [one["probability"] for one in likely["likeliest"]] == pytest.approx(best.values.tolist(), rel=1e-4)


def test_turns_with_roles_stand_around_the_media(here: Path) -> None:
    make_run(here / "runs" / "tiny", modalities=("image", "audio"), template="roles")
    found = traced(tiny(), "hi", [MEDIA[0], MEDIA[0]])
    (fusion,) = (s for s in found if s["step"] == "fusion")
    assert fusion["counts"] == "[text] [image] [image] [text]: 2 + 1 + 1 + 3 = 7 tokens"
    assert fusion["in"] == [[1, 2, 16], [1, 1, 16], [1, 1, 16], [1, 3, 16]]


@pytest.mark.parametrize("media", [[], MEDIA])
def test_the_cache_changes_nothing(media: list[FileMedia], here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(here / "runs" / "tiny", modalities=("image", "audio"))
    engine = tiny()
    cached = traced(engine, "ab", media, tokens=6)[-1]
    declared = engine.declaration
    capabilities = {"thinker": frozenset({Capability.EMBEDS})}
    monkeypatch.setattr(
        engine,
        "declaration",
        lambda p: replace(declared(p), capabilities=capabilities.get(p, declared(p).capabilities)),
    )
    found = traced(engine, "ab", media, tokens=6)
    uncached = found[-1]
    assert not any("cache" in step for step in found)
    assert cached["ids"] == uncached["ids"]
    assert len(cached["ids"]) == 6
    assert cached["text"] == engine.tokenizer().decode(cached["ids"])


def test_generation_ends_where_the_context_does(here: Path) -> None:
    make_run(here / "runs" / "tiny", context=64)
    engine = tiny()
    found = traced(engine, "a" * 60, tokens=50)
    caches = [s["cache"] for s in found if s["section"] == "generation"]
    assert caches == [62, 63, 64]


def test_a_model_of_text_alone(here: Path, steps: Steps, muomni: Command) -> None:
    make_run(here / "runs" / "tiny")
    sections = {s["section"] for s in steps("hello", "-m", "tiny")}
    assert sections == {"text", "thinker", "next token", "generation", "text again"}
    code, _, err = muomni("hello", "-m", "tiny", "--image", "x.png")
    assert code == 2
    assert "no encoder for image" in err


def test_the_same_twice(here: Path) -> None:
    make_run(here / "runs" / "tiny", modalities=("audio",))
    engine = tiny()
    first, second = (traced(engine, "hello", MEDIA[1:]) for _ in range(2))
    for step in (*first, *second):
        assert step.pop("ms") >= 0
    assert first == second


class Doubling(nn.Module):
    """Reports what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(3, 2)
        self.list = nn.ModuleList([nn.ReLU(inplace=True)])
        self.seen: list[Tensor] = []

    def double(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return 2 * x, x

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inner(self.double(x)[0])
        self.seen.append(hidden.clone())
        return self.list[0](hidden)  # type: ignore[no-any-return]


def test_statistics_are_the_tensors() -> None:
    module, recorder, x = Doubling(), TensorRecorder(), torch.randn(5, 4, 3)
    steps = [
        Step(at="double", title="double", what="", counts=lambda a, b: f"{a[0]} -> {b[1]}"),
        *default_steps(module),
    ]
    with recorder.watching(module, steps), torch.inference_mode():
        result = module(x)
    (hidden,) = module.seen
    double, inner, relu = recorder.steps
    assert (double.inputs, double.outputs, double.counts) == (((5, 4, 3),), ((5, 4, 3), (5, 4, 3)), "5 -> 4")
    for line, tensor in ((double, 2 * x), (inner, hidden), (relu, result)):
        s = line.statistics
        assert s is not None
        exact = tensor.double().numpy()
        assert (s.mean, s.std) == pytest.approx((exact.mean(), exact.std()))
        assert (s.min, s.max) == (exact.min(), exact.max())
    assert [line.title for line in recorder.steps] == ["double", "inner", "list 0"]
    assert "double" not in vars(module)
    assert "forward" not in vars(module.inner)
    module(x)
    assert len(recorder.steps) == 3


def test_what_is_not_there_is_a_plugin_s_mistake() -> None:
    recorder = TensorRecorder()
    for at in ("nowhere", "inner.nothing", "inner.weight", "list.3"):
        with (
            pytest.raises(MuomniError, match="which its steps name"),
            recorder.watching(Doubling(), [Step(at=at, title="", what="")]),
        ):
            pass


def test_ids_have_no_statistics() -> None:
    assert statistics_of(torch.arange(3)) is None
    assert statistics_of(torch.zeros(0)) is None
    assert statistics_of(np.zeros((2, 2), np.uint8)) is not None


class Config(PartConfig):
    pass


class Sums(nn.Module):
    """A stranger's encoder: two numbers a line of a file, summed into one token."""

    width = 4

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 4)

    def forward(self, inputs: Tensor, lengths: Sequence[int] | None = None) -> EncoderOutput:  # noqa: ARG002
        return EncoderOutput(self.layer(inputs).sum(1, keepdim=True), [1] * len(inputs))


def count(config: Config, inputs: Any) -> int:  # noqa: ARG001
    return 1


def read(config: Config, file: Any, name: str) -> Any:  # noqa: ARG001
    return np.loadtxt(file, dtype=np.float32, delimiter=",", ndmin=2)


def test_a_stranger_s_encoder_that_declares_no_steps(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_run(here / "runs" / "tiny")
    engine = tiny()
    part = EncoderPart(
        name="sums",
        doc="sums",
        config=Config,
        build="a:b",
        read="muomni_cli.trace.report:read",
        num_tokens="muomni_cli.trace.report:count",
        modality="motion",
    )
    monkeypatch.setattr("muomni_cli.trace.report.read", read, raising=False)
    monkeypatch.setattr("muomni_cli.trace.report.count", count, raising=False)
    omni: Any = OmniModel(engine.omni().thinker, {"motion": Sums()}).eval()  # type: ignore[dict-item]
    declared = engine.declaration
    monkeypatch.setattr(engine, "omni", lambda: omni)
    monkeypatch.setattr(engine, "modalities", ["motion"])
    monkeypatch.setattr(engine, "declaration", lambda name: part if name == "motion" else declared(name))
    monkeypatch.setattr("muomni_cli.inference.chat_model.modalities_of", lambda _: {"motion": Modality(part, Config())})
    (here / "walk.csv").write_text("1,2\n3,4\n5,6\n")
    found = traced(engine, "walk", [FileMedia("motion", Path("walk.csv"))])
    motion = [(s["step"], s["in"], s["out"]) for s in found if s["section"] == "motion: walk.csv"]
    assert motion == [
        ("read", [], [[3, 2]]),
        ("encoder", [[3, 2]], [[1, 16]]),
        ("layer", [[1, 3, 2]], [[1, 3, 4]]),
        ("projector", [[1, 1, 4]], [[1, 1, 16]]),
    ]


def test_text_and_markdown_say_the_same(here: Path) -> None:
    make_run(here / "runs" / "tiny", modalities=("image", "audio"))
    steps = trace_question(tiny(), "a|b", MEDIA, 2, quiet).steps
    text, table = as_text(steps), as_markdown(steps)
    assert max(map(len, text.splitlines())) < 250
    assert table.count("\n|") == len(steps) + 2 * len({step.section for step in steps})
    for step in steps:
        assert f"{step.ms:.3f} ms" in text
        assert f"| {step.ms:.3f} |" in table
        assert step.what in text
    for row in table.splitlines():
        if row.startswith("|"):
            assert row.replace("\\|", "").count("|") == 11


def test_json_holds_no_number_that_json_has_not() -> None:
    step = TraceStep("s", 0, "t", "w", (), ((1,),), 1.0, statistics=statistics_of(torch.tensor([float("nan"), 1.0])))
    assert json.loads(json.dumps(as_json([step]), allow_nan=False))[0]["statistics"]["mean"] is None


def test_a_trained_tokenizer_is_used(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = 'name = "mine"\n[tokenizer]\nuse = "bpe"\nvocab_size = 262\n[thinker]\nuse = "transformer"\n'
    (here / "mine.toml").write_text(config + "d_model = 16\nn_heads = 2\nn_layers = 1\nd_ff = 32\n")
    assert recipe_engine("mine.toml", device="cpu").tokenizer().vocab_size == 262
    assert "the tokenizer bpe is not trained yet: using bytes" in capsys.readouterr().err
    from muomni_text.bpe import learn
    from muomni_text.plugin import BPEConfig

    learn(BPEConfig(vocab_size=262), iter(["ab" * 9])).save(here / "runs" / "mine" / "tokenizer")
    engine = recipe_engine("mine.toml", device="cpu")
    assert type(engine.tokenizer()).__name__ == "BPETokenizer"
    assert "stands in" not in capsys.readouterr().err


@pytest.mark.usefixtures("no_model")
@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("hello",), "no model was named"),
        (("hello", "-m", "nowhere"), "there is no model 'nowhere'"),
        (("hello", "--recipe", "nowhere"), "nowhere"),
        (("hello", "--recipe", "omni", "-m", "tiny"), "--recipe an untrained one"),
        (("hello", "--json", "--markdown"), "exclude each other"),
        (("--recipe", "omni"), "there is nothing to trace"),
        ((" ", "--recipe", "omni"), "there is nothing to trace"),
        (("hello", "--image", "gone.png", "--recipe", "omni"), "cannot read gone.png"),
        (("hello", "--image", "text.png", "--recipe", "omni"), "text.png is not a picture"),
        (("hello", "--audio", "text.wav", "--recipe", "omni"), "text.wav is not a readable audio file"),
        (("hello", "--audio", ".", "--recipe", "omni"), "is a folder"),
        (("hello", "--attach", "smell=x.png", "--recipe", "omni"), "no encoder for smell"),
        (("hello", "--attach", "x.png", "--recipe", "omni"), "is not NAME=PATH"),
        (("a" * 600, "--recipe", "omni"), "the prompt is 601 tokens long"),
        (("hello", "--image", "x.png", "--recipe", "stories"), "no encoder for image"),
        (("hello", "--recipe", "omni", "--tokens", "0"), "--tokens"),
        (("hello", "--recipe", "stories", "--speech"), "has no Talker"),
        (("hello", "--recipe", "omni", "--device", "tpu"), "there is no device 'tpu'"),
    ],
)
def test_wrong_requests(words: tuple[str, ...], what: str, here: Path, muomni: Command) -> None:
    for name in ("text.png", "text.wav"):
        (here / name).write_text("Once upon a time there was no picture and no sound.\n" * 20)
    code, out, err = muomni(*words)
    assert (code, out) == (2, "")
    errors = [line for line in err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert what in errors[0] + err.splitlines()[-1]
    assert "Traceback" not in err
