"""A Talker as a policy: what it draws, and how likely it says that is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from muomni_cli.api import RequestError, TextChunk, Utterance, VoiceSettings
from muomni_talker.model import TalkerBase
from muomni_talker.preference import TalkerPolicy
from tests.talker.conftest import CODES, talker

TEXT = "a bad cab. a fed egg!"  # two sentences


@pytest.fixture(params=[False, True], ids=["cursor", "parallel"])
def module(request: pytest.FixtureRequest) -> TalkerBase:
    return talker(request.param, voices=("ann", "bob"), dropout=0.3)


def spoken(module: TalkerBase, text: str, voice: str) -> np.ndarray:
    codes = module.eval().speak([TextChunk(text)], VoiceSettings(voice), lambda logits: int(logits.argmax()))
    return np.concatenate(list(codes))


def test_the_likeliest_codes_are_those_that_it_speaks(module: TalkerBase) -> None:
    policy = TalkerPolicy(module)
    for voice in ("ann", "bob"):
        drawn = policy.sample(TEXT, voice, 3, 0.0, 0)
        wanted = spoken(module, TEXT, voice)
        assert [np.array_equal(one, wanted) for one in drawn] == [True] * 3


def test_what_is_drawn_depends_on_the_seed_alone(module: TalkerBase) -> None:
    policy = TalkerPolicy(module)
    one, two, other = (np.stack(policy.sample(TEXT, "ann", 4, 1.0, seed)) for seed in (1, 1, 2))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert len({row.tobytes() for row in one}) == 4
    assert policy.sample("...", "ann", 2, 1.0, 0) == []


def test_the_log_probability_is_the_sum_over_frames_and_codebooks(module: TalkerBase) -> None:
    policy = TalkerPolicy(module.eval())
    first, second = (policy.sample(text, "ann", 1, 1.0, 0)[0] for text in (TEXT, "egg"))
    answers = [Utterance(TEXT, "ann", first), Utterance("egg", "ann", second)]
    with torch.no_grad():
        found = policy.log_probs(policy.batch(answers)).tolist()
    # the same, counted while the codes are given one by one
    wanted = []
    for answer in answers:
        nats, given = [0.0], iter(answer.codes.ravel().tolist())

        def take(logits: np.ndarray, nats: list[float] = nats, given: object = given) -> int:
            code = next(given)  # type: ignore[call-overload]
            nats[0] += float(torch.from_numpy(logits).log_softmax(-1)[code])
            return int(code)

        list(module.speak([TextChunk(answer.text)], VoiceSettings("ann"), take))
        wanted.append(nats[0])
    assert found == pytest.approx(wanted, abs=2e-3)


def test_a_step_on_a_pair_makes_the_chosen_likelier_and_leaves_the_durations(module: TalkerBase) -> None:
    policy = TalkerPolicy(module)
    module.train()  # without dropout all the same
    sides = [Utterance(TEXT, "ann", codes) for codes in policy.sample(TEXT, "ann", 2, 1.0, 0)]
    before, length = policy.log_probs(policy.batch(sides)), len(spoken(module, TEXT, "ann"))
    module.train()
    assert torch.equal(before, policy.log_probs(policy.batch(sides)))
    (before[1] - before[0]).backward()  # type: ignore[no-untyped-call]
    changed = {name.partition(".")[0] for name, parameter in module.named_parameters() if parameter.grad is not None}
    assert changed
    assert changed.isdisjoint({"reader", "framer"})
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.sub_(1e-3 * parameter.grad)
        after = policy.log_probs(policy.batch(sides))
    assert float(after[0] - after[1]) > float((before[0] - before[1]).detach())
    assert len(spoken(module, TEXT, "ann")) == length


def test_codes_that_it_would_not_give_are_refused(module: TalkerBase) -> None:
    policy = TalkerPolicy(module)
    codes = policy.sample(TEXT, "ann", 1, 1.0, 0)[0]
    bad = {"frames": codes[:-1], "other than": codes + CODES.size, "a frame": codes[:, :1]}
    for told, given in bad.items():
        with pytest.raises(RequestError, match=told):
            policy.batch([Utterance(TEXT, "ann", given)])
    with pytest.raises(RequestError, match="no voice 'eve'"):
        policy.sample(TEXT, "eve", 1, 1.0, 0)
