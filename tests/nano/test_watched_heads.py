"""Who watches the graphs of a bundle sees every call of a codebook's head, though these calls share their arrays."""

from __future__ import annotations

from itertools import chain

from muomni_cli.api import TextChunk, VoiceSettings
from muomni_cli.contract.engine import GraphCall
from muomni_cli.models.locate import model_named


def test_each_call_of_a_head_is_seen_with_its_own_arrays() -> None:
    found = model_named("nano").bundle
    assert found is not None
    engine = found.open("cpu", 1)

    def spoken() -> list[list[int]]:
        frames = engine.talker().speak([TextChunk("seven")], VoiceSettings(), lambda logits: int(logits.argmax()))
        return [row for codes in frames for row in codes.tolist()]

    calls: list[GraphCall] = []
    alone = spoken()
    with engine.watched(calls.append):
        watched = spoken()
    assert len(alone) > 1
    assert watched == alone
    heads = [call for call in calls if call.graph.startswith("head")]
    assert [int(call.outputs["logits"].argmax()) for call in heads] == list(chain.from_iterable(watched))
    given = [call.inputs["codes"][0].tolist() for call in heads if "codes" in call.inputs]
    assert given == [frame[:number] for frame in watched for number in range(1, len(frame))]
