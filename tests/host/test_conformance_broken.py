"""A part that is wrong in one way breaks the check that is about it, and no other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from muomni_cli.api import (
    CallbackPart,
    Capability,
    CodecPart,
    DatasetPart,
    EncoderPart,
    Part,
    PartConfig,
    RuntimePart,
    ThinkerPart,
    TokenizerPart,
)
from muomni_cli.conformance.runner import examine
from muomni_cli.registry.loading import PluginInfo
from muomni_cli.registry.registry import get_registry
from muomni_cli.testing import assert_conforms
from muomni_datasets.config import FilesConfig

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def wrong_parts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The modules of ``wrong`` can be imported, and are slow with more than one thread."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "wrong"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def built_in(kind: str, name: str, **changes: Any) -> Any:
    """A built-in declaration with some fields of another; without what only the built-in's own module can do."""
    part = get_registry().get(kind, name).part
    return replace(part, graphs=None, runner=None, steps=None, **changes)


def breaks(part: Part, plugin: PluginInfo | None = None) -> dict[str, str]:
    """The checks that it breaks, and what is told of each."""
    return {result.check.name: result.summary for result in examine(part, plugin).failed}


def thinker(attribute: str, **changes: Any) -> ThinkerPart:
    small = {"d_model": 16, "n_layers": 1, "n_heads": 2, "d_ff": 32, "ctx_len": 20}
    made: ThinkerPart = built_in(
        "thinker", "transformer", build=f"wrong_thinkers:{attribute}", test_config=small, **changes
    )
    return made


@pytest.mark.parametrize(
    ("attribute", "check", "told"),
    [
        ("ForgetsWhatTheCacheHolds", "cache", "largest difference"),
        ("SeesTheFuture", "causal", "before position"),
        ("PiecesSpoilIt", "chunks", "pieces of"),
        ("MindsItsNeighbors", "ragged", "of a row of"),
        ("CannotBeCut", "truncate", "cut to 6"),
        ("MixesRowsUp", "join", "after a prompt of"),
        ("PrefersIds", "embeds", "largest difference"),
        ("TakesTheFirst", "last-only", "largest difference"),
        ("KeepsItsOwnHead", "head", "head_weight.T"),
        ("KeepsASecret", "state", "allowed 0"),
        ("DrawsForItself", "seed", "tok_emb.weight"),
        ("NeverSettles", "repeats", "largest difference"),
        ("CannotLearn", "trains", "does not require grad"),
        ("CannotTell", "overfits", "loss left"),
        ("GivesTooMuch", "shapes", "logits are (2, 12, 62), and (2, 12, 61)"),
        ("cannot_be_built", "builds", "ValueError: 61 is no prime"),
        ("nowhere", "references", "has no nowhere"),
    ],
)
def test_a_thinker(attribute: str, check: str, told: str) -> None:
    broken = breaks(thinker(attribute))
    assert list(broken) == [check], broken
    assert told in broken[check]


def test_a_capability_that_is_not_declared_is_not_tried() -> None:
    part = thinker("ForgetsWhatTheCacheHolds", capabilities={Capability.EMBEDS})
    report = examine(part)
    assert report.failed == []
    reasons = {result.check.name: result.reason for result in report.results if result.state == "skipped"}
    assert reasons["cache"] == "it does not declare cache"
    assert {"cache", "chunks", "causal", "ragged", "truncate"} <= reasons.keys()
    assert "embeds" not in reasons


def test_what_builds_on_a_broken_law_is_not_tried() -> None:
    results = {result.check.name: result for result in examine(thinker("SeesTheFuture")).results}
    assert results["cache"].reason == "depends on causal, which failed"


MOTION = EncoderPart(
    name="motion",
    doc="three numbers, a hundred times a second",
    modality="motion",
    config=PartConfig,
    build="wrong_encoders:Motion",
    read="wrong_encoders:read",
    num_tokens="wrong_encoders:count",
    bench_inputs="wrong_encoders:inputs",
    truncatable=True,
)


def motion(config: str = "MotionConfig", **changes: str) -> EncoderPart:
    import wrong_encoders  # type: ignore[import-not-found]

    return replace(MOTION, config=getattr(wrong_encoders, config), **changes)  # type: ignore[arg-type]


def test_an_encoder_that_is_right() -> None:
    assert_conforms(motion())


@pytest.mark.parametrize(
    ("changes", "check", "told"),
    [
        ({"build": "wrong_encoders:Leaks"}, "padding", "zeros after"),
        ({"build": "wrong_encoders:MindsItsNeighbors"}, "batch", "row"),
        ({"num_tokens": "wrong_encoders:counts_wrongly"}, "num_tokens", "tokens for an input of"),
        ({"read": "wrong_encoders:reads_anything"}, "refuses", "is read as an array of (4, 3)"),
        ({"read": "wrong_encoders:raises_anything"}, "refuses", "an empty file raises ValueError"),
        ({"config": "Doubles"}, "config", "the default config comes back from JSON with width 16 -> 32"),
        ({"config": "Silent"}, "settings", "width has no description"),
        ({"config": "Generous"}, "settings", "unknown settings are accepted"),
    ],
)
def test_an_encoder(changes: dict[str, str], check: str, told: str) -> None:
    broken = breaks(motion(**changes))
    assert list(broken) == [check], broken
    assert told in broken[check]


@pytest.mark.parametrize(
    ("kind", "name", "attribute", "check", "told"),
    [
        ("codec", "rvq", "OutOfRange", "range", "largest code 32, allowed 31"),
        ("codec", "rvq", "StutteringCodec", "streams", "pieces of"),
        ("vocoder", "griffin-lim", "StutteringVocoder", "streams", "pieces of"),
        ("vocoder", "griffin-lim", "OneTooMany", "shapes", "(2, 1601), and (2, 1600)"),
        ("talker", "cursor", "DependsOnCuts", "cuts", "in words"),
        ("talker", "cursor", "SaysWhatItLikes", "repeats", "largest difference"),
        ("talker", "cursor", "HasEveryVoice", "refuses", "an unknown voice"),
        ("talker", "cursor", "NeverListens", "reads", "do not depend on the text"),
    ],
)
def test_a_part_that_speaks(kind: str, name: str, attribute: str, check: str, told: str) -> None:
    broken = breaks(built_in(kind, name, build=f"wrong_speech:{attribute}"))
    assert list(broken) == [check], broken
    assert told in broken[check]


@pytest.mark.parametrize(
    ("objective", "build", "check"),
    [
        ("loses_capitals", "loses_capitals", "lossless"),
        ("other_in_a_batch", "other_in_a_batch", "batch"),
        ("takes_specials", "takes_specials", "specials"),
        ("lies_about_bytes", "lies_about_bytes", "bytes"),
        ("reads_a_text", "", "untaught"),
    ],
)
def test_a_tokenizer(objective: str, build: str, check: str) -> None:
    build = f"wrong_data:{build}" if build else "muomni_text.byte_level:load"
    part = built_in("tokenizer", "bytes", objective=f"wrong_data:{objective}", build=build)
    assert list(breaks(part)) == [check]


def test_a_tokenizer_that_opens_as_another() -> None:
    part = TokenizerPart(
        name="bytes",
        doc="bytes",
        config=PartConfig,
        build="wrong_data:opens_another",
        objective="muomni_text.byte_level:learn",
        capabilities={Capability.LOSSLESS},
    )
    assert list(breaks(part)) == ["state"]


@pytest.mark.parametrize(
    ("attribute", "check", "told"),
    [
        ("OthersEachTime", "repeats", "the second time document 0 is another one"),
        ("OneReader", "streams", "another reader"),
        ("NoKeys", "gives", "has the key ''"),
        ("NothingSaid", "gives", "there is nothing to learn: documents without text"),
        ("AllAtOnce", "gives", "documents gives a list"),
        ("AbsentFiles", "files", "at all, which is not there"),
    ],
)
def test_a_source(attribute: str, check: str, told: str) -> None:
    broken = breaks(DatasetPart(name="numbers", doc="five", config=PartConfig, build=f"wrong_data:{attribute}"))
    assert list(broken) == [check], broken
    assert told in broken[check]


@pytest.mark.parametrize(
    ("attribute", "check", "told"),
    [
        ("ReadsHidden", "hidden", "beside hidden files document 0 is another one"),
        ("StopsAtBadBytes", "damage", "leaves 0 of 3 items"),
        ("ReplacesBadBytes", "damage", "is in no unreadable"),
    ],
)
def test_a_source_of_files(attribute: str, check: str, told: str) -> None:
    part = DatasetPart(
        name="lines", doc="a line each", config=FilesConfig, build=f"wrong_data:{attribute}", sample="wrong_data:lines"
    )
    broken = breaks(part)
    assert list(broken) == [check], broken
    assert told in broken[check]


@pytest.mark.parametrize(
    ("attribute", "told"), [("Follower", "no method on_end"), ("LastsOneStep", "on_end cannot be called with 2")]
)
def test_a_callback(attribute: str, told: str) -> None:
    broken = breaks(CallbackPart(name="ear", doc="listens", config=PartConfig, build=f"wrong_data:{attribute}"))
    assert list(broken) == ["methods"]
    assert told in broken["methods"]


@pytest.mark.parametrize(
    ("attribute", "told"),
    [("opens_anything", "an empty folder is opened as a model"), ("opens_with_a_bang", "raises KeyError")],
)
def test_a_runtime(attribute: str, told: str) -> None:
    part = RuntimePart(name="box", doc="a box", config=PartConfig, build=f"wrong_data:{attribute}", marker="box.json")
    broken = breaks(part)
    assert list(broken) == ["refuses"]
    assert told in broken["refuses"]


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import torch", "imports torch and numpy as well"),
        ("import time; time.sleep(1.2)", "allowed 1 s"),
        ("import a_package_that_nobody_has", "No module named 'a_package_that_nobody_has'"),
    ],
)
def test_a_module(source: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"stranger_{abs(hash(source))}"
    (tmp_path / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(str(tmp_path))
    part = CallbackPart(name="ear", doc="listens", config=PartConfig, build="wrong_data:LastsOneStep")
    broken = breaks(part, PluginInfo("stranger", name, "1", "stranger-dist", "loaded"))
    assert told in broken["imports"], broken


def test_what_must_work_without_torch_and_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stranger_plugin.py").write_text("")
    (tmp_path / "stranger_reading.py").write_text("import torch\ndef read(config, file, name): ...\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    part = CodecPart(
        name="box", doc="a box", config=PartConfig, build="stranger_reading:read", read="stranger_reading:read"
    )
    broken = breaks(part, PluginInfo("stranger", "stranger_plugin", "1", "stranger-dist", "loaded"))
    assert broken["light"] == "importing stranger_reading imports torch as well"


def test_an_assertion_names_part_law_and_numbers() -> None:
    with pytest.raises(AssertionError, match=r"thinker transformer breaks causal .*: largest difference .*, allowed"):
        assert_conforms(thinker("SeesTheFuture"))
