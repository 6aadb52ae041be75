"""The Talkers: the specification's shapes, causality, caches, batches, and codes that follow the text by themselves."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muomni_cli.api import CodeShape, RequestError, TextChunk, VoiceSettings
from muomni_cli.training.step import Stepper
from muomni_talker.model import CodeHeads, TalkerBase, build, build_parallel, summed
from muomni_talker.plugin import CursorConfig, ParallelConfig
from muomni_talker.text_normalization import written_form
from tests.talker.conftest import CODES, Trained, objective, said, speech, talker

pytestmark = pytest.mark.long

SPEC = CodeShape(codebooks=2, size=128, seconds=0.08)


def greedy(logits: NDArray[Any]) -> int:
    return int(logits.argmax())


def spoken(module: TalkerBase, *pieces: str, **voice_settings: Any) -> NDArray[Any]:
    made = list(module.speak([TextChunk(piece) for piece in pieces], VoiceSettings(**voice_settings), greedy))
    return np.concatenate(made) if made else np.zeros((0, CODES.codebooks), np.int64)


# -- the specification -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parallel", [False, True])
def test_without_text_it_has_the_shapes_of_part_five(parallel: bool) -> None:
    made = build_parallel(ParallelConfig(), SPEC, ("",), 0) if parallel else build(CursorConfig(), SPEC, ("",), 0)
    codes = torch.zeros(1, 301, 2, dtype=torch.long)
    assert codes.numel() == 602
    with torch.inference_mode():
        base, residual = made.eval()(codes)
    assert (base.shape, residual.shape) == ((1, 301, 128), (1, 301, 128))


def test_training_has_the_tensors_of_part_six() -> None:
    """(2,50,2) codes shifted by one, the first frame zero, and the sum of two cross-entropies, each a frame."""
    module = build(
        CursorConfig(dropout=0, input_noise=0, history_dropout=0, text_dropout=0, duration_weight=0), SPEC, ("slt",), 0
    )
    side = speech(["a" * 46, "b" * 46])
    stage = objective(module, side, batch_size=2)
    batch = stage.batch(0, 0)
    codes, before = batch.tensors["codes"], batch.tensors["before"]
    assert codes.shape == before.shape == (2, 50, 2)
    assert torch.equal(before[:, 1:], codes[:, :-1])
    assert not before[:, 0].any()
    (base, residual), _ = stage._predict(batch)
    assert base.shape == residual.shape == (2, 50, 128)
    by_formula = F.cross_entropy(base.reshape(-1, 128), codes[:, :, 0].reshape(-1)) + F.cross_entropy(
        residual.reshape(-1, 128), codes[:, :, 1].reshape(-1)
    )
    torch.testing.assert_close(stage.loss(batch).total / batch.weight, by_formula)


def test_bounds_are_those_of_part_five() -> None:
    assert [CodeShape.most_frames(words) for words in (1, 2, 10, 40)] == [50, 60, 300, 1000]


# -- properties --------------------------------------------------------------------------------------------------------


def lively(parallel: bool = False) -> TalkerBase:
    module = talker(parallel).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.ndim > 1:
                parameter.mul_(3)
    return module


def random_plan(module: TalkerBase, batch: int, frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    before = torch.randint(0, CODES.size, (batch, frames, 2), generator=generator)
    return before, torch.randn(batch, frames, module.config.d_model, generator=generator)


def test_a_later_code_never_changes_an_earlier_logit() -> None:
    module = lively()
    codes, _ = random_plan(module, 1, 20)
    with torch.inference_mode():
        one = module(codes)
        changed = codes.clone()
        changed[:, 12] = (changed[:, 12] + 1) % CODES.size
        other = module(changed)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a[:, :12], b[:, :12])
        assert (a[:, 12:] - b[:, 12:]).abs().amax() > 1e-3


def test_cached_steps_are_the_uncached_pass() -> None:
    module = lively()
    before, plan = random_plan(module, 1, 24)
    with torch.inference_mode():
        whole = module.states(before, plan)
        cache = module.stack.new_cache(1, 24)
        steps = [module.states(before[:, t : t + 1], plan[:, t : t + 1], cache) for t in range(24)]
    torch.testing.assert_close(torch.cat(steps, dim=1), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("parallel", [False, True])
def test_a_batch_is_its_rows(parallel: bool) -> None:
    module = lively(parallel)
    stage = objective(module, speech(["abc", "hello world", "c"]))
    whole = stage._collate(stage._val, [0, 1, 2], None)
    with torch.inference_mode():
        together, features = stage._predict(whole)
        for row in range(3):
            single = stage._collate(stage._val, [row], None)
            alone, own = stage._predict(single)
            frames, count = single.host["frames"][0], single.tensors["ids"].shape[1]
            torch.testing.assert_close(features[row, :count], own[0], atol=1e-5, rtol=1e-5)
            for a, b in zip(together, alone, strict=True):
                torch.testing.assert_close(a[row, :frames], b[0], atol=1e-4, rtol=1e-4)


def test_features_look_no_further_than_they_say() -> None:
    module = lively()
    reach = module.config.reach
    ids = torch.tensor([written_form.numbers("the quick brown fox")])
    changed = ids.clone()
    changed[0, 10] = written_form.numbers("z")[0]
    voice = torch.zeros(1, dtype=torch.long)
    with torch.inference_mode():
        difference = (module.reader(ids, voice) - module.reader(changed, voice))[0].abs().amax(1)
    touched = difference > 1e-6
    assert touched[10 - reach : 10 + reach + 1].all()
    assert not touched[: 10 - reach].any()
    assert not touched[10 + reach + 1 :].any()


def test_residual_codes_are_drawn_given_the_base_code() -> None:
    """Base codes are a coin's; the residual is a function of them. Drawn one by one they must agree."""
    torch.manual_seed(0)
    heads = CodeHeads(16, CodeShape(2, 8, 0.08))
    optimizer = torch.optim.Adam(heads.parameters(), 1e-2)
    states = torch.randn(1, 64, 16)
    for _ in range(300):
        base = torch.where(torch.rand(1, 64) < 0.5, 2, 5)
        codes = torch.stack([base, (base * 3 + 1) % 8], dim=-1)
        real = torch.ones(1, 64, dtype=torch.bool)
        loss = torch.stack(summed(heads(states, codes), codes, real)).sum() / 64
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    drawn = heads.draw(states[0], lambda logits: torch.distributions.Categorical(logits=logits).sample())
    assert {2, 5} <= set(drawn[:, 0].tolist())
    sure = (drawn[:, 0] == 2) | (drawn[:, 0] == 5)
    assert ((drawn[sure, 0] * 3 + 1) % 8 == drawn[sure, 1]).float().mean() > 0.95


# -- training ----------------------------------------------------------------------------------------------------------


def test_a_batch_is_a_function_of_seed_and_step(texts: list[str]) -> None:
    one, other = (objective(talker(input_noise=0.3), speech(texts)) for _ in range(2))
    for step in (4, 0):
        first, second = one.batch(step, 0), other.batch(step, 0)
        assert all(torch.equal(first.tensors[name], second.tensors[name]) for name in first.tensors)


def test_history_is_corrupted_and_targets_are_not(texts: list[str]) -> None:
    stage = objective(talker(input_noise=0.5, history_dropout=1.0), speech(texts), batch_size=32)
    batch = stage.batch(0, 0)
    codes, before = batch.tensors["codes"], batch.tensors["before"]
    real = batch.tensors["real"][:, 1:]
    changed = (before[:, 1:] != codes[:, :-1]).any(-1)[real].float().mean()
    assert 0.2 < changed < 0.6  # some are exchanged for equal ones
    assert not batch.tensors["known"].any()


def test_durations_add_up_to_the_frames(texts: list[str]) -> None:
    stage = objective(talker(), speech(texts))
    batch = stage.batch(0, 0)
    frames = torch.tensor(batch.host["frames"])
    assert torch.equal(batch.tensors["lasting"].sum(1), frames * stage.module.config.subframes)


@pytest.mark.parametrize("parallel", [False, True])
def test_one_batch_is_learned_by_heart(parallel: bool) -> None:
    module = (
        talker(parallel, input_noise=0, history_dropout=0, text_dropout=0)
        if not parallel
        else talker(True, text_dropout=0)
    )
    stage = objective(module, speech(["abcd efgh", "hgfe dcba", "bad cab", "dead beef"]), batch_size=4)
    optimizer = torch.optim.AdamW(module.parameters(), 5e-3)
    batch = stage.batch(0, 0)
    for _ in range(120):
        loss = stage.loss(batch).total / batch.weight
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1
    assert stage.validate()["right_base"] > 0.99


@pytest.mark.parametrize("parallel", [False, True])
def test_in_free_running_the_text_is_followed_letter_by_letter(taught: Trained, parallel: bool) -> None:
    """Texts that were never heard: every letter's code in its order, the residual by its rule, and then the end."""
    module = taught(parallel)
    for text in ("head", "bagged", "a cage", "facade"):
        codes, _ = said(text)
        assert spoken(module, text)[:, 0].tolist() == codes[:, 0].tolist()
        assert spoken(module, text)[:, 1].tolist() == codes[:, 1].tolist()


def test_a_rule_of_codes_is_followed_in_free_running() -> None:
    """Each code is a function of the one before, no text is given: what would fail if targets were a frame off."""
    permutation = np.random.default_rng(0).permutation(CODES.size)
    base = [int(permutation[0])]
    for _ in range(30):
        base.append(int(permutation[base[-1]]))
    codes = torch.tensor([[[b, (b + 7) % CODES.size] for b in base]])
    before = codes.roll(1, dims=1)
    before[:, 0] = 0
    module = talker()
    plan = module.framer.nothing.expand(1, len(base), -1)
    optimizer = torch.optim.AdamW(module.parameters(), 5e-3)
    for _ in range(120):
        given_logits = module.heads(module.states(before, plan), codes)
        loss = torch.stack(summed(given_logits, codes, torch.ones(1, len(base), dtype=torch.bool))).sum()
        optimizer.zero_grad()
        (loss / len(base)).backward()
        optimizer.step()
    made = torch.zeros(1, 1, 2, dtype=torch.long)  # the start frame; then nothing but its own codes
    with torch.inference_mode():
        for _ in base:
            base_logit, residual_logit = module(made)
            frame = torch.stack([base_logit[:, -1:].argmax(-1), residual_logit[:, -1:].argmax(-1)], dim=-1)
            made = torch.cat([made, frame], dim=1)
    assert torch.equal(made[:, 1:], codes)


def test_shuffled_text_says_something_else(taught: Trained) -> None:
    module = taught()
    one, other = spoken(module, "head cab")[:, 0].tolist(), spoken(module, "cab head")[:, 0].tolist()
    assert one != other
    assert sorted(one) == sorted(other)


@pytest.mark.parametrize("parallel", [False, True])
def test_speed_is_a_factor_of_the_length(taught: Trained, parallel: bool) -> None:
    module = taught(parallel)
    usual = len(spoken(module, "facade"))
    assert abs(len(spoken(module, "facade", speed=2.0)) - usual / 2) <= 1
    assert abs(len(spoken(module, "facade", speed=0.5)) - usual * 2) <= 1


@settings(max_examples=20, deadline=None)
@given(cuts=st.lists(st.integers(0, 30), max_size=5))
@pytest.mark.parametrize("parallel", [False, True])
def test_how_the_text_comes_in_pieces_changes_nothing(taught: Trained, parallel: bool, cuts: list[int]) -> None:
    text = "head cab. a bad face, a dead bee! egg"
    places = [0, *sorted(cuts), len(text)]
    pieces = [text[a:b] for a, b in itertools.pairwise(places)]
    module = taught(parallel)
    assert np.array_equal(spoken(module, *pieces), spoken(module, text))


def test_it_begins_before_the_sentence_has_ended(taught: Trained) -> None:
    asked: list[str] = []

    def pieces() -> Any:
        for word in ["head", "cab", "face", "egg", "bad", "cage", "dead", "beef"]:
            asked.append(word)
            yield TextChunk(word + " ")

    first = next(iter(taught().speak(pieces(), VoiceSettings(), greedy)))
    assert first.shape == (1, 2)
    assert len(asked) < 5


def test_nothing_to_say_is_nothing(taught: Trained) -> None:
    assert len(spoken(taught(), "")) == len(spoken(taught(), " \n ", "☺")) == 0


def test_it_never_goes_on_for_ever() -> None:
    module = talker(max_duration=200, ctx_len=1024).eval()
    with torch.no_grad():
        module.reader.lasting[-1].bias[-1] = 100.0  # every character lasts 200 slots
    assert len(spoken(module, "abcdefgh")) == CodeShape.most_frames(1)
    assert len(spoken(module, "abc def gh")) == CodeShape.most_frames(3)


@pytest.mark.parametrize("parallel", [False, True])
@pytest.mark.parametrize(
    ("text", "speed"), [("abcdefgh", 1.0), ("abcdefgh", 0.9), ("abc def gh", 1.0), ("head cab", 1.1)]
)
def test_it_tells_when_a_sentence_is_cut_short(text: str, speed: float, parallel: bool) -> None:
    module = talker(parallel, max_duration=200, ctx_len=1024).eval()
    for last, cut in ((-1, True), (2, False)):  # every character lasts 200 slots, or 2
        with torch.no_grad():
            module.reader.lasting[-1].bias.zero_()
            module.reader.lasting[-1].bias[last] = 100.0
        asked = VoiceSettings(speed=speed)
        made = sum(len(codes) for codes in module.speak([TextChunk(text)], asked, greedy))
        most = CodeShape.most_frames(len(text.split()), len(text.replace(" ", "")), speed)
        assert asked.report.cut is cut
        assert made == most if cut else made < most


@given(st.integers(1, 40), st.integers(1, 400), st.floats(0.5, 2))
def test_the_bound_grows_with_letters_and_slowness(words: int, letters: int, speed: float) -> None:
    bound = CodeShape.most_frames(words, letters, speed)
    assert bound <= CodeShape.most_frames(words, letters + 10, speed)
    assert bound <= CodeShape.most_frames(words, letters, speed * 0.9)
    assert bound >= min(1000, 6 * letters) / speed - 1


@pytest.mark.parametrize(("voice_settings", "fix"), [({"voice": "x"}, "rms, slt"), ({"speed": 3.0}, "0.5 to 2")])
def test_what_cannot_be_spoken_is_refused_before_anything_is(voice_settings: dict[str, Any], fix: str) -> None:
    with pytest.raises(RequestError) as error:
        talker(voices=("rms", "slt")).speak([], VoiceSettings(**voice_settings), greedy)
    assert fix in error.value.fix


def test_voices_speak_differently() -> None:
    module = talker(voices=("a", "b")).eval()
    with torch.no_grad():
        module.reader.voices.weight.mul_(5)
    one, other = (spoken(module, "head", voice=voice) for voice in ("a", "b"))
    assert one.shape != other.shape or (one != other).any()


def test_training_goes_through_the_host_s_steps(texts: list[str]) -> None:
    module = talker()
    stage = objective(module, speech(texts))
    before = stage.validate()["loss"]
    train = stage._settings.model_copy(update={"lr": 3e-3, "optimizer": "muon"})
    stepper = Stepper(stage, train, torch.device("cpu"))
    for step in range(30):
        stepper.step(step, [stage.batch(step, 0)])
    assert stage.validate()["loss"] < before - 0.5


@pytest.mark.parametrize("parallel", [False, True])
def test_a_talker_that_starts_from_another_keeps_its_voices_by_name(parallel: bool) -> None:
    old = talker(parallel, voices=("ann", "bob"))
    new = talker(parallel, voices=("bob", "eve"))
    new.start_from(old)
    assert torch.equal(new.reader.voices.weight[0], old.reader.voices.weight[1])
    assert torch.equal(new.reader.voices.weight[1], old.reader.voices.weight.mean(0))
    before, after = old.state_dict(), new.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name != "reader.voices.weight")
    with pytest.raises(RequestError, match="width 8"):
        new.start_from(talker(parallel, width=8))
