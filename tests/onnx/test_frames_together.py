"""A Talker without PyTorch: sentences of any lengths share a call, and have the codes that each has alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxscript", reason="needs onnxscript")
pytest.importorskip("muomni_onnx.graphs", reason="needs the exporter")

from muomni_onnx.in_place import InPlaceRows, StandardSteps
from muomni_onnx.in_place_graph import step_form, write_in_place_step
from muomni_onnx.parity import compare
from muomni_onnx.precision import convert_precision
from muomni_onnx.sessions import GraphSession
from muomni_talker.frames import MOST_ROWS
from muomni_talker.graphs import graphs
from muomni_talker.model import TalkerBase, build
from muomni_talker.plugin import CursorConfig
from muomni_talker.synthesis import TalkerRunner
from tests.onnx.speech_parts import CODES, lively, opened
from tests.talker.speeches import alone, require_equal, together

CONTEXT = 512
HEARD = 6
SIZES: dict[str, Any] = {
    "d_text": 16, "text_layers": 1, "text_kernel": 3, "d_model": 80, "n_layers": 2, "n_heads": 2, "d_ff": 64,
    "max_duration": 12, "ctx_len": CONTEXT,
}  # fmt: skip


class SharedStep:
    """A graph with, perhaps, the form whose cache is written in place; counts the rows of its calls."""

    def __init__(self, standard: GraphSession, form: InPlaceRows | None) -> None:
        self._standard, self.calls = standard, list[int]()
        self._form = None if form is None else CountedRows(form, self.calls)

    def __call__(self, feeds: Any, /) -> Any:
        return self._standard(feeds)

    def rows(self) -> Any:
        return self._form


class CountedRows:
    def __init__(self, form: InPlaceRows, calls: list[int]) -> None:
        self._form, self._calls = form, calls
        self.begin = form.begin

    def __call__(self, rows: Sequence[Any], feeds: Any) -> Any:
        self._calls.append(len(rows))
        return self._form(rows, feeds)


@pytest.fixture(scope="module", params=["fp32", "int8"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A Talker with heads of 40 places, which the operator does not rotate; its graphs; the form of its step; and what
    the manifest says of it."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    module: TalkerBase = lively(lambda: build(CursorConfig(**SIZES), CODES, ("rms", "slt"), HEARD))
    sessions: dict[str, Any] = dict(opened(graphs(module), folder))
    graph = next(one for one in graphs(module) if one.name == "step")
    path = folder / "step.onnx"
    if request.param == "int8":
        convert_precision(path, path, "int8", graph.states)
        sessions["step"] = GraphSession(path, threads=1)
    assert write_in_place_step(path, CONTEXT) == ""
    entry = {
        "inputs": {one.name: list(one.axes) for one in graph.inputs},
        "outputs": list(graph.outputs),
        "states": dict(graph.states),
    }
    return module, sessions, GraphSession(path.with_name(step_form(path.name)), threads=1), entry, graph, request.param


def runner(exported: Any, *, shared: bool = True) -> tuple[TalkerRunner, SharedStep]:
    module, sessions, form, entry, *_ = exported
    step = SharedStep(sessions["step"], InPlaceRows(form, entry, CONTEXT) if shared else None)
    made = TalkerRunner(module.config, {**sessions, "step": step}, CODES, ("rms", "slt"), HEARD)
    return made, step


def test_the_form_owns_no_weights_and_computes_what_the_step_does(exported: Any) -> None:
    from dataclasses import replace

    from muomni_onnx.golden import relative

    _, _, form, entry, graph, precision = exported
    steps = replace(graph, cases={name: sizes for name, sizes in graph.cases.items() if sizes["time"] == 1})
    assert {"batch 3, one step", "end of the context"} <= steps.cases.keys()
    allowed = {} if precision == "fp32" else {"tolerance": 0.15, "distance": relative}
    parity = compare(steps, StandardSteps(form, entry), **allowed)
    assert parity.holds, (parity.error, parity.where)


@pytest.mark.parametrize("seed", range(3))
def test_nobody_minds_who_comes_and_goes(exported: Any, seed: int) -> None:
    talker, step = runner(exported)
    if talker.rows == 1:
        pytest.skip("the kernels for this CPU sum each number of rows in another order")
    step.calls.clear()
    said, abandoned = together(talker, 10, np.random.default_rng(seed))
    assert max(step.calls) > 1
    require_equal(said, abandoned, alone(runner(exported)[0], 10))


def test_a_bundle_without_the_form_is_served_row_by_row(exported: Any) -> None:
    talker, _ = runner(exported, shared=False)
    assert talker.rows == 1
    require_equal(*together(talker, 6, np.random.default_rng(0)), alone(talker, 6))


def test_rows_that_depend_on_each_other_are_not_decoded_together(
    exported: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = InPlaceRows.__call__

    def rounded_otherwise(self: InPlaceRows, rows: Sequence[Any], feeds: Any) -> Any:
        return {name: made + np.float32(1e-6 * (len(rows) > 1)) for name, made in called(self, rows, feeds).items()}

    monkeypatch.setattr(InPlaceRows, "__call__", rounded_otherwise)
    assert runner(exported)[0].rows == 1
    monkeypatch.undo()
    assert runner(exported)[0].rows in (1, MOST_ROWS)


def test_rows_keep_their_entries_when_their_group_grows_and_others_leave(exported: Any) -> None:
    """200 places, which is more than there is room for at first."""
    _, _, form, entry, *_ = exported
    random = np.random.default_rng(0)
    feeds = {
        "before": random.integers(0, CODES.size, (200, 3, 1, CODES.codebooks)),
        "plan": random.standard_normal((200, 3, 1, SIZES["d_model"]), np.float32),
    }

    def run(graph: InPlaceRows, rows: dict[int, Any], place: int) -> dict[int, NDArray[Any]]:
        numbers = list(rows)
        states = graph([rows[n] for n in numbers], {name: array[place, numbers] for name, array in feeds.items()})
        return dict(zip(numbers, states["states"], strict=True))

    graph = InPlaceRows(form, entry, CONTEXT)
    rows = {number: graph.begin() for number in range(3)}
    made: list[dict[int, NDArray[Any]]] = []
    for place in range(200):
        if place == 90:
            del rows[1]
        made.append(run(graph, rows, place))
    for number in (0, 2):
        own = InPlaceRows(form, entry, CONTEXT)
        one = {number: own.begin()}
        for place in range(200):
            np.testing.assert_allclose(run(own, one, place)[number], made[place][number], atol=1e-4)
