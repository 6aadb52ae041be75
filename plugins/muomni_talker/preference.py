"""A Talker as a policy over codes, for direct preference optimization (arXiv:2305.18290; for speech arXiv:2404.05600).

The log-likelihood of an utterance is that of its codes given the plan of its frames: over frames and codebooks, each
code given the frames before and the codes of the same frame before it. Durations are no part of it. Speech is planned
with their means, so all utterances of a text have the same plan, and a term for durations would be the same for both
sides of a pair. The text encoder and the length regulator are frozen, so that the plan stays what the pair was drawn
with, and speech as long as it was.

Shapes: B utterances, S sentences, T frames, D width of frames, Q codebooks, K codes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muomni_cli.api import Batch, RequestError, TextChunk, Utterance, VoiceSettings
from muomni_talker.frames import FrameBatch
from muomni_talker.model import TalkerBase, TorchEngine
from muomni_talker.synthesis import Sentence
from muomni_talker.text_frontend import pronounced, script

KEPT = 4096  # plans in memory: a few sentences' worth of a few dozen KB each
MAKE_AGAIN = "make the pairs with this Talker: muomni data preferences"


class TalkerPolicy:
    """A :class:`muomni_cli.api.SpeechPolicy`. RequestError for codes that the Talker would not give that text."""

    unit = "frames"

    def __init__(self, talker: TalkerBase) -> None:
        talker.reader.requires_grad_(False)
        talker.framer.requires_grad_(False)
        for layer in talker.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        self.module, self.blocks = talker, list(talker.stack.blocks)
        self.adamw_params = frozenset(
            name
            for name, value in talker.named_parameters()
            if value.ndim > 1 and {"tables", "heads", "history"} & {*name.split(".")[:-1]}
        )
        self._planned = lru_cache(KEPT)(self._plan)

    def sample(self, text: str, voice: str, count: int, temperature: float, seed: int) -> list[NDArray[np.int64]]:
        """``count`` times (T,Q), all rows at once, so that they take little longer than one."""
        plans = self._planned(text, voice)
        if not plans:
            return []
        draw = _drawing(temperature, torch.Generator().manual_seed(seed))
        codes = np.concatenate([self._sentence(plan, count, draw) for plan in plans], axis=1)
        return list(codes)

    def batch(self, answers: Sequence[Utterance]) -> Batch:
        """A row for each of the S sentences of all answers, padded on the right; ``owner`` (S,): its answer."""
        rows: list[tuple[int, NDArray[np.float32], NDArray[np.int64]]] = []
        for number, answer in enumerate(answers):
            rows += [(number, *one) for one in self._sentences(answer)]
        frames = [len(plan) for _, plan, _ in rows]
        plans = np.zeros((len(rows), max(frames), self.module.config.d_model), np.float32)
        codes = np.zeros((len(rows), max(frames), self.module.codes.codebooks), np.int64)
        for place, (_, plan, own) in enumerate(rows):
            plans[place, : len(plan)], codes[place, : len(own)] = plan, own
        before = np.roll(codes, 1, axis=1)
        before[:, 0] = 0
        counts = [float(answer.codes.size) for answer in answers]
        arrays = {
            "plan": plans,
            "codes": codes,
            "before": before,
            "real": np.arange(max(frames)) < np.array(frames)[:, None],
            "owner": np.array([number for number, _, _ in rows]),
            "counts": np.array(counts, np.float32),
        }
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Batch(tensors, sum(counts), sum(frames), {"frames": frames})

    def log_probs(self, batch: Batch) -> Tensor:
        tensors, talker = batch.tensors, self.module
        states = talker.states(tensors["before"], tensors["plan"], lengths=batch.host["frames"])
        codes = tensors["codes"]
        likely = torch.zeros(codes.shape[:2], device=codes.device)
        for q, logits in enumerate(talker.heads(states, codes)):
            likely = likely + logits.float().log_softmax(-1).gather(2, codes[..., q, None])[..., 0]
        summed = (likely * tensors["real"]).sum(1)
        return torch.zeros_like(tensors["counts"]).index_add(0, tensors["owner"], summed)

    def _sentences(self, answer: Utterance) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
        """(T,D) plan and (T,Q) codes of each sentence of an utterance."""
        plans, shape = self._planned(answer.text, answer.voice), self.module.codes
        planned, (frames, codebooks) = sum(map(len, plans)), answer.codes.shape
        if frames != planned:
            what = f"{answer.text[:60]!r} has codes of {frames:,} frames, and this Talker says it in {planned:,}"
            raise RequestError(what, MAKE_AGAIN)
        if codebooks != shape.codebooks or not (answer.codes.min() >= 0 and answer.codes.max() < shape.size):
            what = f"{answer.text[:60]!r} has codes other than {shape.codebooks} of 0 to {shape.size - 1} a frame"
            raise RequestError(what, MAKE_AGAIN)
        begin = 0
        for plan in plans:
            yield plan, answer.codes[begin : begin + len(plan)]
            begin += len(plan)

    def _plan(self, text: str, voice: str) -> list[NDArray[np.float32]]:
        """(T,D) conditioning of the frames of each sentence, as :meth:`TalkerBase.speak` plans them."""
        voices = self.module.voices
        if voice and voice not in voices:
            listed = ", ".join(filter(None, voices)) or "one without a name"
            raise RequestError(f"there is no voice {voice!r}", f"available voices: {listed}")
        engine, settings = TorchEngine(self.module), VoiceSettings(voice or None)
        batch = FrameBatch(engine)  # in which no frame is decoded
        found, plans, sentence = [], [], None
        for word in pronounced(script([TextChunk(text)])):
            sentence = sentence or Sentence(engine, voices.index(voice) if voice else 0, settings, _likeliest, batch)
            plans.append(sentence.add(word))
            if word.ends:
                found.append(np.concatenate(plans)[: sentence.most])
                sentence.end()
                plans, sentence = [], None
        return found

    @torch.inference_mode()
    def _sentence(self, plan: NDArray[np.float32], count: int, draw: Callable[[Tensor], Tensor]) -> NDArray[np.int64]:
        """(T,D) plan -> (count,T,Q) codes."""
        talker, like = self.module, self.module.framer.nothing
        given = torch.from_numpy(plan).to(like).expand(count, -1, -1)  # (count,T,D)
        before = torch.zeros(count, len(plan), talker.codes.codebooks, dtype=torch.long, device=like.device)
        if not talker.causal:
            return _array(talker.heads.draw(talker.states(before, given), draw))
        cache = talker.stack.new_cache(count, len(plan))
        codes = [before[:, 0]]
        for frame in range(len(plan)):
            state = talker.states(codes[-1][:, None], given[:, frame, None], cache)[:, 0]
            codes.append(talker.heads.draw(state, draw))
        return _array(torch.stack(codes[1:], dim=1))


def _likeliest(logits: NDArray[Any]) -> int:
    return int(logits.argmax())


def _drawing(temperature: float, generator: torch.Generator) -> Callable[[Tensor], Tensor]:
    """(...,K) logits -> (...) codes; random numbers come from the CPU, so that they are the same on every device."""

    def draw(logits: Tensor) -> Tensor:
        if temperature == 0:
            return logits.argmax(-1)
        shares = (logits.float().cpu() / temperature).softmax(-1)
        drawn = torch.multinomial(shares.flatten(0, -2), 1, generator=generator)
        return drawn.view(shares.shape[:-1]).to(logits.device)

    return draw


def _array(codes: Tensor) -> NDArray[Any]:
    return codes.cpu().numpy()
