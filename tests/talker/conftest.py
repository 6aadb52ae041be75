"""A language that is easy to speak: every letter is one frame long and says its own code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from muomni_cli.api import CodeShape
from muomni_cli.data.batches import BatchSampler
from muomni_cli.data.speech import SpeechData, SpeechDataset
from muomni_cli.recipe.train_settings import TrainSettings
from muomni_talker.model import TalkerBase, build, build_parallel
from muomni_talker.objective import TalkerObjective
from muomni_talker.plugin import CursorConfig, ParallelConfig

CODES = CodeShape(codebooks=2, size=32, seconds=0.08)
SIZES: dict[str, Any] = {
    "d_text": 32,
    "text_layers": 2,
    "text_kernel": 3,
    "d_model": 48,
    "n_layers": 2,
    "n_heads": 2,
    "d_ff": 96,
    "max_duration": 12,
    "ctx_len": 256,
    "dropout": 0.0,
}


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def talker(parallel: bool = False, voices: Sequence[str] = ("slt",), width: int = 0, **settings: Any) -> TalkerBase:
    torch.manual_seed(0)
    if parallel:
        return build_parallel(ParallelConfig(**(SIZES | settings)), CODES, voices, width)
    return build(CursorConfig(**(SIZES | settings)), CODES, voices, width)


def code_of(character: str) -> int:
    """The base code of a character."""
    return 5 + "abcdefghijklmnopqrstuvwxyz ".index(character)


def said(text: str, frames: int = 1) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Codes (T,2) and edges (L+1,): two frames of silence, ``frames`` a character, two of silence."""
    base = [1, 1, *(code_of(c) for c in text for _ in range(frames)), 1, 1]
    codes = np.array([[b, (3 * b + 1) % CODES.size] for b in base], np.uint16)
    return codes, (2 + frames * np.arange(len(text) + 1)).astype(np.float32) * np.float32(CODES.seconds)


def speech(texts: Sequence[str], voices: Sequence[str] = ()) -> SpeechDataset:
    codes, char_times = zip(*(said(text) for text in texts), strict=True)
    order = BatchSampler([len(one) for one in codes], [0] * len(texts), [1.0], 0)
    return SpeechDataset(codes, char_times, texts, texts, voices or ["slt"] * len(texts), order)  # type: ignore[arg-type]


def objective(module: TalkerBase, side: SpeechDataset, **settings: Any) -> TalkerObjective:
    context: Any = SimpleNamespace(
        settings=TrainSettings(**{"batch_size": 8, **settings}),
        seed=0,
        speech=lambda _: SpeechData(side, side),
        thinker=lambda: None,
        device=torch.device("cpu"),
        vocoder=lambda: None,
        progress=print,
    )
    return TalkerObjective(module, context)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    """Sixty-four of them, of three to nine letters."""
    rng = np.random.default_rng(1)
    letters = list("abcdefgh ")
    made = ["".join(rng.choice(letters, int(rng.integers(3, 10)))).strip() or "a" for _ in range(64)]
    return [" ".join(text.split()) or "a" for text in made]


Trained = Callable[..., TalkerBase]


@pytest.fixture(scope="session")
def taught(texts: list[str]) -> Trained:
    """``taught(parallel)``: a Talker that speaks the language."""
    known: dict[bool, TalkerBase] = {}

    def teach(parallel: bool = False) -> TalkerBase:
        if parallel not in known:
            torch.set_num_threads(1)
            module = talker(parallel)
            stage = objective(module, speech(texts), batch_size=16)
            optimizer = torch.optim.AdamW(module.parameters(), 4e-3)
            for step in range(220):
                batch = stage.batch(step, 0)
                optimizer.zero_grad()
                (stage.loss(batch).total / batch.weight).backward()
                optimizer.step()
            known[parallel] = module.eval()
        return known[parallel]

    return teach
