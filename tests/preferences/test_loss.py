"""Properties of the loss on pairs and of the log-probabilities that it is made of."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from muomni_cli.contract.data import Message
from muomni_cli.data.preferences import Answer, Laid, PairData, Pairs, answer_of
from muomni_cli.omni import OmniModel
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_cli.registry.registry import get_registry, resolve
from muomni_cli.training import preferences
from muomni_cli.training.preferences import (
    PreferenceObjective,
    ThinkerPolicy,
    log_probs_of,
    preference_loss,
    token_log_probs,
)
from tests.tiny_model import THINKER

VOCAB = 40


def thinker(seed: int = 0, **more: Any) -> OmniModel:
    registered = get_registry().get("thinker", "transformer")
    config = registered.part.config.model_validate({**THINKER, **more})
    torch.manual_seed(seed)
    return OmniModel(resolve(registered.part.build)(config, vocab_size=VOCAB), {})


def pairs(count: int = 6) -> Pairs[Answer]:
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        prompt = rng.integers(0, VOCAB, 3 + number % 3)
        sides = [np.concatenate([prompt, rng.integers(0, VOCAB, size)]) for size in (4, 2 + number % 4)]
        laid = [Answer(side.astype(np.int32), len(prompt)) for side in sides]
        rows.append((Laid(laid[0], laid[1], max(map(len, sides))), 0))
    return Pairs(rows, [1.0], 0)


def stage(policy: ThinkerPolicy, own: Pairs[Answer], reference: Any = None, **settings: Any) -> PreferenceObjective:
    context: Any = SimpleNamespace(
        settings=TrainSettings(batch_size=len(own), **settings),
        device=torch.device("cpu"),
        drawn=(),
        report=lambda _: None,
        progress=print,
    )
    known = log_probs_of(policy, own, context) if reference is None else reference
    return PreferenceObjective(policy, {"train": known, "val": known}, PairData(own, own, "", ()), context)


def swapped(own: Pairs[Answer]) -> Pairs[Answer]:
    return Pairs([(Laid(one.rejected, one.chosen, one.size), 0) for one in own.pairs], [1.0], 0)


def moved(objective: PreferenceObjective, rate: float = 1e-2) -> None:
    """One step down the gradient."""
    batch = objective.batch(0, 0)
    (objective.loss(batch).total / batch.weight).backward()  # type: ignore[no-untyped-call]
    with torch.no_grad():
        for parameter in objective.module.parameters():
            if parameter.grad is not None:
                parameter.sub_(rate * parameter.grad)
                parameter.grad = None


def test_a_policy_that_is_the_reference_has_a_loss_of_log_2_and_its_gradient_raises_the_margin() -> None:
    objective = stage(ThinkerPolicy(thinker()), pairs())
    first = objective.validate()
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-5)
    assert first["margin"] == pytest.approx(0.0, abs=1e-5)
    moved(objective)
    second = objective.validate()
    assert second["margin"] > first["margin"] + 1e-4
    assert second["loss"] < first["loss"]
    assert second["accuracy"] > 0.9


def test_pairs_the_other_way_round_have_the_opposite_margin() -> None:
    policy, own = ThinkerPolicy(thinker()), pairs()
    objective = stage(policy, own)
    moved(objective, 0.1)
    other = stage(policy, swapped(own), objective._reference["train"][:, ::-1])
    one, two = objective.validate(), other.validate()
    assert one["margin"] == pytest.approx(-two["margin"], abs=1e-5)
    assert one["margin"] > 0.01
    assert (one["chosen"], one["rejected"]) == (pytest.approx(two["rejected"]), pytest.approx(two["chosen"]))


def test_log_probabilities_are_those_of_the_answers_tokens_whatever_the_padding() -> None:
    omni, own = thinker(), pairs()
    policy = ThinkerPolicy(omni)
    answers = [side for one in own.pairs for side in (one.chosen, one.rejected)]
    with torch.no_grad():
        together = policy.log_probs(policy.batch(answers))
        for row, answer in enumerate(answers):
            ids = torch.from_numpy(answer.ids.astype(np.int64))
            logits = (omni.thinker.hidden(ids[None, :-1])[0] @ omni.thinker.head_weight.T).log_softmax(-1)
            wanted = sum(float(logits[at - 1, ids[at]]) for at in range(answer.begin, len(ids)))
            assert float(together[row]) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.slow  # it imports torch's compiler
def test_chunks_of_logits_give_what_all_of_them_give(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    states, weight, targets = torch.randn(9, 5), torch.randn(7, 5), torch.randint(7, (9,))

    def found() -> tuple[Tensor, ...]:
        given = states.clone().requires_grad_(), weight.clone().requires_grad_()
        out = token_log_probs(*given, targets)
        return (out, *torch.autograd.grad(out.square().sum(), given))

    whole = found()
    monkeypatch.setattr(preferences, "CHUNK_LOGITS", 14)
    for one, other in zip(whole, found(), strict=True):
        assert torch.allclose(one, other, atol=1e-5)


def test_dropout_does_not_make_the_policy_differ_from_the_reference() -> None:
    objective = stage(ThinkerPolicy(thinker(dropout=0.5)), pairs())
    objective.module.train()
    loss = objective.loss(objective.batch(0, 0))
    assert float(loss.total.detach()) / 6 == pytest.approx(math.log(2), abs=1e-5)


def test_variants_of_the_loss() -> None:
    margins = torch.tensor([-3.0, 0.0, 0.5, 4.0])
    plain = preference_loss(margins, TrainSettings(beta=0.5))
    assert torch.allclose(plain, -torch.nn.functional.logsigmoid(0.5 * margins))
    smooth = preference_loss(margins, TrainSettings(beta=0.5, label_smoothing=0.2))
    other = preference_loss(-margins, TrainSettings(beta=0.5, label_smoothing=0.2))
    assert torch.allclose(smooth - other, 0.6 * (plain - preference_loss(-margins, TrainSettings(beta=0.5))), atol=1e-6)
    ipo = preference_loss(margins, TrainSettings(beta=0.5, preference_loss="ipo"))
    assert torch.allclose(ipo, (margins - 1.0) ** 2)


def test_the_cross_entropy_of_chosen_answers_is_per_token() -> None:
    policy, own = ThinkerPolicy(thinker()), pairs()
    plain, with_sft = stage(policy, own), stage(policy, own, sft_weight=0.5)
    with torch.no_grad():
        likely = policy.log_probs(policy.batch([one.chosen for one in own.pairs]))
    counts = torch.tensor([len(one.chosen.ids) - one.chosen.begin for one in own.pairs])
    added = with_sft.validate()["loss"] - plain.validate()["loss"]
    assert added == pytest.approx(-0.5 * float((likely / counts).mean()), abs=1e-5)


@pytest.mark.parametrize("template", ["roles", "plain"])
def test_only_the_last_answer_and_its_end_are_learned(template: Any) -> None:
    tokenizer = resolve(str(get_registry().get("tokenizer", "bytes").part.objective))(
        get_registry().get("tokenizer", "bytes").part.config(), iter(())
    )
    prompt = [Message("user", "one"), Message("assistant", "two"), Message("user", "three")]
    answer = answer_of(tokenizer, prompt, "four", template)
    learned = answer.ids[answer.begin :].tolist()
    assert tokenizer.decode(learned[:-1]).strip() == "four"
    assert learned[-1] == tokenizer.specials["eos"]
