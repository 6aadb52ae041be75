"""Which side of a model is traced, and when a traced answer is over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muomni_cli.api import RequestError
from muomni_cli.models.locate import ModelRef
from muomni_cli.runs.run import RunFolder
from muomni_cli.trace import request
from muomni_cli.trace.recorder import TensorRecorder
from muomni_cli.trace.request import graphs_to_trace
from muomni_cli.trace.trace import AnswerTokens
from muomni_text.byte_level import ByteTokenizer

BUNDLE: Any = object()
RUN = RunFolder(Path("run"))
TOKENIZER = ByteTokenizer()


def test_the_insides_are_traced_where_they_can_be(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ModelRef(BUNDLE, RUN)
    assert graphs_to_trace(both, "auto") is None
    assert graphs_to_trace(both, "torch") is None
    assert graphs_to_trace(both, "bundle") is BUNDLE
    assert graphs_to_trace(ModelRef(None, RUN), "auto") is None
    assert capsys.readouterr().err == ""
    assert graphs_to_trace(ModelRef(BUNDLE), "auto") is BUNDLE
    assert "name the run" in capsys.readouterr().err
    monkeypatch.setattr(request, "find_spec", lambda _: None)
    assert graphs_to_trace(both, "auto") is BUNDLE
    assert "needs PyTorch: pip install" in capsys.readouterr().err
    with pytest.raises(RequestError, match="has no bundle"):
        graphs_to_trace(ModelRef(None, RUN), "bundle")


@pytest.mark.parametrize(
    ("text", "guard", "kept"),
    [("HAHAHAHAHA", True, "HA"), ("HAHAHAHAHA", False, "HAHAHAHAHA"), ("no no no", True, "no no no")],
)
def test_a_traced_answer_ends_before_it_repeats_itself(text: str, guard: bool, kept: str) -> None:
    recorder = TensorRecorder()
    answer = AnswerTokens(TOKENIZER, 100, loop_guard=guard)
    for token in [*TOKENIZER.encode(text), TOKENIZER.specials["eos"]]:
        assert not answer.over
        answer.add(token)
        if answer.over:
            break
    assert TOKENIZER.decode(answer.kept(recorder)) == kept
    assert [step.title for step in recorder.steps] == (["loop guard"] if kept != text else [])


def test_a_traced_answer_is_as_long_as_was_asked() -> None:
    answer = AnswerTokens(TOKENIZER, 2, loop_guard=True)
    for token in TOKENIZER.encode("ab"):
        answer.add(token)
    assert answer.over
    assert TOKENIZER.decode(answer.kept(TensorRecorder())) == "ab"
