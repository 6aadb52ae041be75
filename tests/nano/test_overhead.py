"""What Python adds to nano's graphs stays small beside them: a ratio with slack, for a loop that slows down by much."""

from __future__ import annotations

from muomni_cli.bench.overhead import measure_overhead
from muomni_cli.bench.workload import Workload

MOST = 2.0  # the whole over its graphs; 1.1 to 1.3 on a machine that is shared


def test_a_token_and_a_code_frame_are_mostly_graphs() -> None:
    text, frame = measure_overhead("nano", Workload(1, 8, 32, 5, "cpu", 1), lambda _: None)
    assert (text.what, frame.what) == ("a token of text", "a code frame")
    for one in (text, frame):
        assert 0 < one.graphs < one.whole < MOST * one.graphs
