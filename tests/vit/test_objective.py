"""The stage of the image encoder: batches by seed and step, the three lessons, and what is left of them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from muomni_cli.api import Batch, EncoderPart, RequestError
from muomni_cli.data.batches import BatchSampler
from muomni_cli.data.examples import DecodedExampleData, DecodedExamples
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.runs.checkpoint import PREFIXES, load_model, model_tensors, read_checkpoint, write_checkpoint
from muomni_cli.training.step import Stepper
from muomni_vit.heads import symbols_of
from muomni_vit.model import build
from muomni_vit.objective import VisionObjective, choose
from muomni_vit.plugin import VitConfig
from muomni_vit.runtime import END, HIDDEN, read

TINY: dict[str, Any] = {"size": 16, "patch": 4, "d_model": 32, "n_layers": 2, "n_heads": 2, "d_ff": 64, "tokens": 2}
WORDS = {"d_model": 32, "n_heads": 2, "longest": 24}
LESSONS = ["labels", "contrast", "captions"]
VARIED = {"shift": 2, "flip": 0.5, "erase": 0.5}
COLORS = {"red": (220, 40, 40), "blue": (40, 60, 220), "lime": (90, 220, 60)}
BESIDE = ("left", "right")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def picture(color: str, side: str) -> NDArray[np.uint8]:
    """A square of a colour in one half of the picture."""
    pixels = np.full((3, 16, 16), 120, np.uint8)
    begin = 2 if side == "left" else 9
    pixels[:, 5:11, begin : begin + 5] = np.array(COLORS[color], np.uint8)[:, None, None]
    return pixels


def examples(
    texts: Sequence[str], labels: Sequence[str | None], inputs: Sequence[NDArray[np.uint8]], seed: int = 0
) -> DecodedExamples:
    order = BatchSampler([3] * len(texts), [0] * len(texts), [1.0], seed)
    return DecodedExamples(inputs, texts, labels, order)


def scenes(seed: int = 0) -> DecodedExamples:
    """Six pictures that differ, each with a text and a label of its own, and one of them twice."""
    pairs = [(color, side) for color in COLORS for side in BESIDE] + [("red", "left"), ("lime", "right")]
    texts = [f"a {color} one, {side}" for color, side in pairs]
    return examples(texts, [f"{c}-{s}" for c, s in pairs], [picture(*pair) for pair in pairs], seed)


def context(data: DecodedExamples, seed: int = 0, val: DecodedExamples | None = None, **train: Any) -> Any:
    return SimpleNamespace(
        settings=TrainSettings(**{"batch_size": 8, **train}),
        seed=seed,
        examples=lambda: DecodedExampleData(data, data if val is None else val, ""),
        progress=print,
    )


def stage(learn: str, config: dict[str, Any] | None = None, seed: int = 0, **train: Any) -> VisionObjective:
    torch.manual_seed(0)
    settings = VitConfig(**{**TINY, "learn": learn, "words": WORDS, **(config or {})})
    return choose(build(settings), context(scenes(seed), seed, **train))


def equal(one: Batch, other: Batch) -> bool:
    same = all(torch.equal(one.tensors[name], other.tensors[name]) for name in one.tensors)
    return same and (one.weight, one.items) == (other.weight, other.items)


@pytest.mark.parametrize("learn", LESSONS)
def test_a_batch_is_a_function_of_seed_and_step(learn: str) -> None:
    config = {"augment": VARIED, "words": {**WORDS, "hidden": 0.3}}
    one, other = (stage(learn, config) for _ in range(2))
    for step in (5, 0, 3):
        assert equal(one.batch(step, 0), other.batch(step, 0))
    assert not equal(one.batch(0, 0), one.batch(1, 0))
    assert not equal(one.batch(0, 0), stage(learn, config, seed=1).batch(0, 0))
    assert one.batch(0, 0).items == 8


@pytest.mark.parametrize("learn", LESSONS)
def test_micro_batches_are_shares_of_the_step_and_change_no_result(learn: str) -> None:
    config = {"augment": VARIED, "words": {**WORDS, "hidden": 0.3}}
    whole, shared = stage(learn, config), stage(learn, config, accumulate=4)
    batch, parts = whole.batch(2, 0), [shared.batch(2, micro) for micro in range(4)]
    assert torch.cat([part.tensors["pictures"] for part in parts]).equal(batch.tensors["pictures"])
    assert sum(part.weight for part in parts) == batch.weight
    total = sum(shared.loss(part).total.item() for part in parts)
    assert total == pytest.approx(whole.loss(batch).total.item(), rel=1e-4)


@pytest.mark.parametrize("learn", LESSONS)
def test_the_order_of_a_batch_changes_nothing(learn: str) -> None:
    one = stage(learn)
    rows = list(range(8))
    lesson = one.lesson
    forth = one._evaluation_mode(rows)
    back = one._evaluation_mode(rows[::-1])
    scores, turned = one._scores(forth), one._scores(back)
    torch.testing.assert_close(lesson.loss(scores, forth.tensors), lesson.loss(turned, back.tensors))
    assert lesson.right(scores, forth.tensors).flip(0).equal(lesson.right(turned, back.tensors))
    assert forth.weight == back.weight


@pytest.mark.parametrize("learn", ["labels", "captions"])
def test_validation_is_the_same_one_by_one(learn: str) -> None:
    """Also where texts are of unequal length, so that a batch pads them."""
    one = trained(stage(learn), 15)
    batched = one.validate()
    one._settings = one._settings.model_copy(update={"batch_size": 1})
    singles = one.validate()
    assert singles == pytest.approx(batched, rel=1e-4)
    assert batched["n"] == 8


@pytest.mark.parametrize("learn", LESSONS)
def test_bf16_is_near(learn: str) -> None:
    one = stage(learn)
    batch = one.batch(0, 0)
    exact = one.loss(batch).total
    with torch.autocast("cpu", torch.bfloat16):
        near = one.loss(batch).total
    assert near.dtype == torch.float32
    torch.testing.assert_close(near, exact, rtol=0.02, atol=0.0)


def trained(one: VisionObjective, steps: int) -> VisionObjective:
    """The stage after some steps, as the engine makes them."""
    settings = TrainSettings(batch_size=8, steps=max(steps, 6), lr=4e-3, optimizer="muon", warmup_steps=5)
    stepper = Stepper(one, settings, torch.device("cpu"))
    for step in range(steps):
        stepper.step(step, [one.batch(step, 0)])
    return one


@pytest.mark.parametrize("learn", LESSONS)
def test_it_learns_one_batch(learn: str) -> None:
    one = stage(learn, {"label_smoothing": 0.05, "stem": "conv"})
    before = one.validate()
    after = trained(one, 80).validate()
    measure = one.lesson.measure
    assert measure == {"labels": "accuracy", "contrast": "retrieval", "captions": "exact"}[learn]
    assert before[measure] < 0.5
    assert after[measure] == 1.0
    assert after["loss"] < before["loss"] / 4
    assert one.module.training
    sheet, texts = one.samples(80)
    assert isinstance(sheet.content, bytes)
    assert isinstance(texts.content, str)
    assert Image.open(io.BytesIO(sheet.content)).size == (8 * 16, 16)
    said = "red-left" if learn == "labels" else "a red one, left"
    assert texts.content.startswith(f"1. right: {said}\n   model: {said}\n")


def test_labels_are_those_of_training() -> None:
    one = stage("labels")
    strange = examples(["", ""], ["red-left", "a unicorn"], [picture("red", "left")] * 2)
    one._val = strange
    batch = one._evaluation_mode([0, 1])
    assert batch.tensors["classes"].tolist() == [one.lesson.classes.index("red-left"), -1]  # type: ignore[attr-defined]
    assert batch.weight == 1.0
    assert not one.lesson.right(one._scores(batch), batch.tensors)[1]


def test_smoothing_is_for_training_only() -> None:
    plain, smooth = stage("labels"), stage("labels", {"label_smoothing": 0.3})
    assert plain.validate() == smooth.validate()
    batch = plain.batch(0, 0)
    assert not torch.isclose(trained(plain, 20).loss(batch).total, trained(smooth, 20).loss(batch).total)


def test_equal_texts_are_no_negatives() -> None:
    """A picture is compared with each text once, however many pictures have it."""
    one = stage("contrast")
    batch = one._evaluation_mode([0, 6, 1])  # the first two have the same text
    own = batch.tensors["own"]
    assert own.tolist() == [0, 0, 1]
    assert len(batch.tensors["texts"]) == 2
    scores = one._scores(batch)
    sides = torch.tensor([[1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    expected = torch.nn.functional.softplus(-scores * sides).sum()
    torch.testing.assert_close(one.lesson.loss(scores, batch.tensors), expected)
    assert batch.weight == 3.0


def test_the_order_of_words_matters_and_padding_does_not() -> None:
    one = stage("contrast")
    tokens = torch.randn(1, 4, 32)
    texts = ["left of blue", "blue of left", "a much longer text"]
    scores = one.lesson.scores(tokens, {"texts": symbols_of(texts, 24)})
    alone = torch.cat([one.lesson.scores(tokens, {"texts": symbols_of([text], 24)}) for text in texts], dim=1)
    torch.testing.assert_close(scores, alone, atol=1e-4, rtol=1e-4)
    assert (scores[0, 0] - scores[0, 1]).abs() > 1e-3


@pytest.mark.parametrize("steps", [0, 25, 80])
def test_captions_are_exact_where_greedy_writing_says_so(steps: int) -> None:
    """At any stage of training ``exact`` counts those pictures whose text is written byte for byte, without a look at
    the right one."""
    one = trained(stage("captions"), steps)
    one.module.eval()
    batch = one._evaluation_mode(list(range(8)))
    with torch.no_grad():
        tokens = one.lesson.encoder(batch.tensors["pictures"]).tokens
        right = one.lesson.right(one._scores(batch), batch.tensors).tolist()
        pairs = one.lesson.said(tokens, one._val, list(range(8)))
        assert [said == text for text, said in pairs] == right
        # Each byte that was written is the likeliest after those before it, seen all at once.
        for (_, said), token in zip(pairs, tokens, strict=True):
            symbols = symbols_of([said], 24)
            if HIDDEN not in symbols and "\N{REPLACEMENT CHARACTER}" not in said and len(said) < 24:
                best = one.lesson.scores(token[None], {"given": symbols[:, :-1]}).argmax(2)
                assert best.equal(symbols)
    if steps == 80:
        assert all(right)


def test_hidden_words_are_hidden_whole_from_what_is_given_and_not_from_what_is_asked() -> None:
    one = stage("captions", {"words": {**WORDS, "hidden": 0.5}})
    batch = one.batch(0, 0)
    given, symbols = batch.tensors["given"], batch.tensors["symbols"]
    seen = given != HIDDEN
    assert 0.3 < seen.float().mean() < 0.7
    assert given[seen].equal(symbols[:, :-1].where(symbols[:, :-1] >= 0, END)[seen])
    for row, hidden in zip(symbols[:, :-1].tolist(), (~seen).tolist(), strict=True):
        words = [[h for _, h in group] for _, group in groupby(zip(row, hidden, strict=True), lambda p: p[0] == 32)]
        assert all(len(set(word)) == 1 for word in words)
    assert not (~seen & (symbols[:, :-1] == 32)).any()
    assert batch.weight == float((symbols >= 0).sum())
    assert not (one._evaluation_mode([0, 1]).tensors["given"] == HIDDEN).any()


def test_texts_are_bytes_with_an_end() -> None:
    texts = ["", "grün", "eins zwei"]
    rows = symbols_of(texts, 6)
    assert rows.shape == (3, 7)
    assert [read(row) for row in rows.tolist()] == ["", "grün", "eins z"]
    assert all(row[-1] == END for row in rows.tolist())
    assert symbols_of([""], 6).tolist() == [[END]]


def test_auto_learns_labels_where_there_are_some_and_texts_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert stage("auto").lesson.measure == "accuracy"
    data = scenes()
    bare = examples(data.texts, [None] * 8, data.inputs)
    settings = VitConfig(**TINY, words=WORDS)
    assert choose(build(settings), context(bare)).lesson.measure == "retrieval"
    assert choose(build(settings), context(data, val=bare)).lesson.measure == "retrieval"
    assert capsys.readouterr().out.split("\n")[:2] == ["learning labels", "learning contrast"]


@pytest.mark.parametrize(
    ("learn", "texts", "labels", "message"),
    [
        ("labels", ["a", "b"], ["a", None], "1 of 2 pictures have no label"),
        ("labels", ["a", "b"], ["a", "a"], "all pictures have the label 'a'"),
        ("contrast", ["a", "a"], [None, None], "all 2 pictures have the text 'a'"),
        ("captions", ["", ""], [None, None], "all 2 pictures have the text ''"),
    ],
)
def test_examples_that_cannot_teach_it_are_refused(
    learn: str, texts: list[str], labels: list[str | None], message: str
) -> None:
    data = examples(texts, labels, [picture("red", "left")] * 2)
    with pytest.raises(RequestError, match=message):
        choose(build(VitConfig(**TINY, learn=learn)), context(data))


def test_labels_are_texts_where_there_are_no_others() -> None:
    data = scenes()
    bare = examples([""] * 8, data.labels, data.inputs)
    one = choose(build(VitConfig(**TINY, words=WORDS, learn="captions")), context(bare))
    assert read(one.batch(0, 0).tensors["symbols"].where(one.batch(0, 0).tensors["symbols"] >= 0, END)[0].tolist()) in (
        data.labels
    )


@pytest.mark.parametrize("learn", LESSONS)
def test_what_is_learned_is_opened_as_an_encoder(learn: str, tmp_path: Path) -> None:
    one = trained(stage(learn), 3)
    pixels = torch.from_numpy(np.stack(one._val.inputs))
    path = tmp_path / "last.safetensors"
    write_checkpoint(path, {}, {"model": model_tensors(one.module)})
    again = build(one.lesson.encoder.config)
    load_model(again, read_checkpoint(path), ema=True, prefix=PREFIXES[EncoderPart])
    assert again.eval()(pixels).tokens.equal(one.lesson.encoder.eval()(pixels).tokens)


@pytest.mark.parametrize("learn", LESSONS)
def test_every_parameter_learns_and_names_are_right(learn: str) -> None:
    one = stage(learn)
    assert one.adamw_params <= dict(one.module.named_parameters()).keys()
    assert len(one.blocks) == 2
    one.loss(one.batch(0, 0)).total.backward()  # type: ignore[no-untyped-call]
    still = {name for name, p in one.module.named_parameters() if p.grad is None or not p.grad.abs().max() > 0}
    assert still == set()


def test_a_validation_of_some_batches_looks_at_all_parts() -> None:
    one = stage("labels", batch_size=2, val_batches=2)
    assert one._validation_rows() == [[0, 1], [6, 7]]
    assert one.validate()["n"] == 4
    assert len(stage("labels", batch_size=2, val_batches=9)._validation_rows()) == 4
