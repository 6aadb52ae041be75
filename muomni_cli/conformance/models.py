"""Laws of models that packages carry: they are whole, they say what they are, and they do something. Imports no torch,
but to try a run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from muomni_cli.conformance.find import Carried
from muomni_cli.contract.conformance import Inapplicable, Law, Number, Subject, require
from muomni_cli.contract.declarations import ModelFiles
from muomni_cli.contract.speech import Said
from muomni_cli.models.bundle import bundle_at
from muomni_cli.models.describe import SPEECH, describe
from muomni_cli.models.digests import verify
from muomni_cli.models.find import Found
from muomni_cli.runs.folder import RunFolder

TOKENS = 4
SECONDS = 2.0
"""Most of an answer, and of speech."""
WORD = "hello"


def _model(subject: Subject) -> ModelFiles:
    assert isinstance(subject.part, Carried), "laws are tried on their own kind"
    return subject.part.model


def whole(subject: Subject) -> Sequence[Number]:
    """Bundle and run, file by file."""
    model, count = _model(subject), 0
    if model.bundle is not None:
        packed = bundle_at(model.bundle)
        require(packed is not None, f"no runtime that is installed opens {model.bundle}")
        count += packed.open("cpu", 1).verify() if packed is not None else 0
    if model.run is not None:
        count += verify(model.run)
    return [Number("files", count)]


def opens(subject: Subject) -> Sequence[Number]:
    """Each of its folders by itself: every part's plugin is here, its config is right, its weights have headers."""
    return [Number(f"parts of the {kind}", len(_facts(subject, folder)["parts"])) for kind, folder in _folders(subject)]


def carded(subject: Subject) -> Sequence[Number]:
    """It is there, and is about this model."""
    model = _model(subject)
    require(model.card is not None, "it has no model card: declare card=")
    text = model.card.read_text(encoding="utf-8") if model.card is not None else ""
    require(model.name in text, f"its card does not name {model.name}")
    require(text.lstrip().startswith("#"), "its card is no Markdown with a title")
    return []


def useful(subject: Subject) -> Sequence[Number]:
    """A few tokens, a little sound, from each of its folders."""
    numbers: list[Number] = []
    for kind, folder in _folders(subject):
        facts = _facts(subject, folder)
        if facts["context"]:
            numbers.append(Number(f"tokens that the {kind} answers", _answered(folder)))
        if SPEECH in facts["gives"]:
            numbers.append(Number(f"sound of the {kind}", _said(folder), unit="s"))
    if not numbers:
        raise Inapplicable("it neither answers nor speaks")
    nothing = [number.what for number in numbers if not number.value > 0]
    require(not nothing, f"{WORD!r} makes no {' and no '.join(nothing)}")
    return numbers


def _folders(subject: Subject) -> Iterator[tuple[str, Path]]:
    model = _model(subject)
    yield from ((kind, path) for kind, path in (("bundle", model.bundle), ("run", model.run)) if path is not None)


def _facts(subject: Subject, folder: Path) -> dict[str, Any]:
    run = RunFolder(folder) if folder == _model(subject).run else None
    return subject.once(str(folder), lambda: describe(Found(None if run else bundle_at(folder), run)))


def _answered(folder: Path) -> int:
    from muomni_cli.inference.chat_model import Answer, chat_model
    from muomni_cli.inference.settings import ChatOptions, settings_of
    from muomni_cli.models.engines import CAN_CHAT, open_engine

    engine = open_engine(str(folder), CAN_CHAT, device="cpu", threads=1)
    settings = settings_of(engine, ChatOptions(max_tokens=TOKENS, temperature=0.0))
    model, answer = chat_model(engine), Answer()  # that may be no text at all: the end is a token, too
    for _ in model.answer(model.prompt(WORD, (), settings), settings, answer):
        pass
    return len(answer.tokens)


def _said(folder: Path) -> float:
    from muomni_cli.models.engines import CAN_SPEAK, open_engine
    from muomni_cli.speaking.speech import Drawing
    from muomni_cli.speaking.voice import voice_of

    voice = voice_of(open_engine(str(folder), CAN_SPEAK, device="cpu", threads=1))
    samples = np.concatenate([*voice.say([Said(WORD)], voice.manner(), Drawing(max_seconds=SECONDS)), np.zeros(0)])
    require(bool(np.isfinite(samples).all()), "samples of its speech are not finite")
    return len(samples) / voice.sample_rate


LAWS = (
    Law(
        name="whole",
        doc="every file is there, as its digest says, and no other",
        check=whole,
        after=("imports",),
    ),
    Law(
        name="opens",
        doc="everything that its parts need is installed, and they open",
        check=opens,
        after=("whole",),
    ),
    Law(
        name="card",
        doc="a model card says what it is",
        check=carded,
    ),
    Law(
        name="useful",
        doc="it answers, or it speaks",
        check=useful,
        after=("opens",),
    ),
)
