"""Conformance checks of callbacks, runtimes and packaged models. Imports torch only to run a model that needs it."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from muomni_cli.conformance.common import refusal
from muomni_cli.conformance.runner import ModelPart
from muomni_cli.contract.bundle import TextModel
from muomni_cli.contract.checks import Check, CheckFailed, CheckSkipped, Number, PartUnderTest, check_that
from muomni_cli.contract.declarations import ExporterPart, ModelFiles, PartConfig, RuntimePart
from muomni_cli.contract.speech import TextChunk
from muomni_cli.models.locate import ModelRef, bundle_at
from muomni_cli.models.package_run import SPEECH, describe
from muomni_cli.runs.digests import verify
from muomni_cli.runs.run import LAST, RunFolder

CALLS: Mapping[str, tuple[Any, ...]] = {
    "on_start": (None,),
    "on_log": (1, {"loss": 1.0}),
    "on_validation": (1, {"loss": 1.0}),
    "on_checkpoint": (1, Path(LAST)),
    "on_end": (1, "finished"),
}
"""Methods of a callback and example arguments."""

MARKS = {"an empty marker": b"", "a marker of random bytes": bytes(range(256)), "an empty JSON marker": b"{}"}

WORD = "hello"  # what a model is asked and says


def builds(subject: PartUnderTest) -> Sequence[Number]:
    subject.once("callback", lambda: subject.find("build")(subject.config))
    return []


def methods(subject: PartUnderTest) -> Sequence[Number]:
    callback = subject.once("callback", lambda: subject.find("build")(subject.config))
    for name, arguments in CALLS.items():
        method = getattr(callback, name, None)
        check_that(callable(method), f"it has no method {name}")
        try:
            inspect.signature(method).bind(*arguments)  # type: ignore[arg-type]
        except TypeError as error:
            raise CheckFailed(f"{name} cannot be called with {len(arguments)} arguments: {error}") from error
    return [Number("methods", len(CALLS))]


CALLBACK_LAWS = (
    Check(name="builds", doc="it can be built from its test config", run=builds, depends_on=("references",)),
    Check(name="methods",
        doc="it has on_start, on_log, on_validation, on_checkpoint and on_end, with the arguments of each", run=methods,
        depends_on=("builds",)),
)  # fmt: skip


def refuses(subject: PartUnderTest) -> Sequence[Number]:
    assert isinstance(subject.part, RuntimePart), "checks run on their own kind"
    folders = {"an empty folder": subject.folder()}
    for what, content in MARKS.items():
        folders[what] = subject.folder()
        (folders[what] / subject.part.marker).write_bytes(content)
    for what, folder in folders.items():
        open_folder = partial(subject.find("build"), subject.config, folder, "cpu", 1)
        refusal(what, open_folder, lambda _: "is opened as a model")
    return [Number("folders refused", len(folders))]


RUNTIME_LAWS = (
    Check(name="refuses", doc="a folder without a model of its format raises RequestError", run=refuses,
        depends_on=("references",)),
)  # fmt: skip


def names_strangers(subject: PartUnderTest) -> Sequence[Number]:
    """A Thinker that the format has no counterpart for, or a folder that is no bundle, is refused; nothing is left."""
    part = subject.part
    assert isinstance(part, ExporterPart), "checks run on their own kind"
    entry = {"kind": "thinker", "plugin": "nobody", "use": "nothing", "config": {}}
    folder = subject.folder()
    given: Any = TextModel("unknown", None, PartConfig(), entry, cast("Any", None), {}, folder / "nothing.safetensors")
    what = "an unknown Thinker"
    if part.takes == "bundle":
        given, what = subject.folder(), "an empty folder as a bundle"
    for precision in part.precisions:
        write = partial(subject.find("build"), given, folder, precision=precision, notify=lambda _: None)
        refusal(f"{what} in {precision}", write, lambda _: "is written")
        check_that(not list(folder.iterdir()), "files are left of an export that was refused")
    return [Number("precisions", len(part.precisions))]


EXPORTER_LAWS = (
    Check(name="strangers", doc="what has no counterpart in its format raises RequestError", run=names_strangers,
        depends_on=("references",)),
)  # fmt: skip


def _model(subject: PartUnderTest) -> ModelFiles:
    assert isinstance(subject.part, ModelPart), "checks run on their own kind"
    return subject.part.model


def whole(subject: PartUnderTest) -> Sequence[Number]:
    model, count = _model(subject), 0
    if model.bundle is not None:
        bundle = bundle_at(model.bundle)
        check_that(bundle is not None, f"no installed runtime opens {model.bundle}")
        count += bundle.open("cpu", 1).verify() if bundle is not None else 0
    if model.run is not None:
        count += verify(model.run)
    return [Number("files", count)]


def opens(subject: PartUnderTest) -> Sequence[Number]:
    return [Number(f"parts of the {kind}", len(_facts(subject, folder)["parts"])) for kind, folder in _folders(subject)]


def carded(subject: PartUnderTest) -> Sequence[Number]:
    model = _model(subject)
    check_that(model.card is not None, "it has no model card: declare card=")
    text = model.card.read_text(encoding="utf-8") if model.card is not None else ""
    check_that(model.name in text, f"its card does not name {model.name}")
    check_that(text.lstrip().startswith("#"), "its card is no Markdown with a title")
    return []


def useful(subject: PartUnderTest) -> Sequence[Number]:
    """A few tokens and a little speech from the bundle and the run."""
    numbers: list[Number] = []
    for kind, folder in _folders(subject):
        facts = _facts(subject, folder)
        if facts["context"]:
            numbers.append(Number(f"tokens that the {kind} answers", _answered(folder)))
        if SPEECH in facts["gives"]:
            numbers.append(Number(f"sound of the {kind}", _said(folder), unit="s"))
    if not numbers:
        raise CheckSkipped("it neither answers nor speaks")
    nothing = [number.what for number in numbers if not number.value > 0]
    check_that(not nothing, f"{WORD!r} gives no {' and no '.join(nothing)}")
    return numbers


def _folders(subject: PartUnderTest) -> list[tuple[str, Path]]:
    model = _model(subject)
    return [(kind, path) for kind, path in (("bundle", model.bundle), ("run", model.run)) if path is not None]


def _facts(subject: PartUnderTest, folder: Path) -> dict[str, Any]:
    run = RunFolder(folder) if folder == _model(subject).run else None
    return subject.once(str(folder), lambda: describe(ModelRef(None if run else bundle_at(folder), run)))


def _answered(folder: Path) -> int:
    from muomni_cli.inference.chat_model import Answer, chat_model
    from muomni_cli.inference.settings import ChatOptions, settings_of
    from muomni_cli.models.engines import CAN_CHAT, open_engine

    engine = open_engine(str(folder), CAN_CHAT, device="cpu", threads=1)
    settings = settings_of(engine, ChatOptions(max_tokens=4, temperature=0.0))
    model, answer = chat_model(engine), Answer()  # a lone eos counts, too
    for _ in model.answer(model.prompt(WORD, (), settings), settings, answer):
        pass
    return len(answer.tokens)


def _said(folder: Path) -> float:
    from muomni_cli.models.engines import CAN_SPEAK, open_engine
    from muomni_cli.voice.synthesis import SpeechSampling, voice_of

    voice = voice_of(open_engine(str(folder), CAN_SPEAK, device="cpu", threads=1))
    samples = np.concatenate(
        [*voice.say([TextChunk(WORD)], voice.voice_settings(), SpeechSampling(max_seconds=2.0)), np.zeros(0)]
    )
    check_that(bool(np.isfinite(samples).all()), "samples of its speech are not finite")
    return len(samples) / voice.sample_rate


CHECKS = (
    Check(name="whole", doc="all files are present and match their checksums, and there are no others", run=whole,
        depends_on=("imports",)),
    Check(name="opens", doc="all plugins that its parts need are installed, and the parts can be opened", run=opens,
        depends_on=("whole",)),
    Check(name="card", doc="it has a model card", run=carded),
    Check(name="useful", doc="it answers or speaks", run=useful, depends_on=("opens",)),
)  # fmt: skip
