"""Export graphs of the Talkers (characters to features, features to plan, plan to states, states to codes), and steps
for ``muomni trace``.

Shapes: B batch, S symbols, T frames, W and D widths, Q codebooks, K codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muomni_cli.api import Graph, GraphInput, Step
from muomni_cli.nn.onnx_stack import filled, grow, held_by, past_cases, past_inputs, past_states
from muomni_cli.nn.transformer import Span
from muomni_talker.model import Alignment, CursorTalker, TalkerBase
from muomni_talker.text_normalization import written_form


class TextEncoderGraph(nn.Module):
    """(B,S) symbols, (B,) voices and optional (B,S,Dh) Thinker states -> (B,S,W) features, (B,S) durations in slots."""

    def __init__(self, talker: TalkerBase) -> None:
        super().__init__()
        self.reader = talker.reader

    def forward(self, ids: Tensor, voice: Tensor, *thoughts: Tensor) -> tuple[Tensor, ...]:
        features = self.reader(ids, voice, *thoughts)
        return features, self.reader.expected(features)


class LengthRegulatorGraph(nn.Module):
    """(B,S,W) features, and (B,T,slots) symbol, elapsed and left of each slot -> (B,T,D) plan."""

    def __init__(self, talker: TalkerBase) -> None:
        super().__init__()
        self.framer = talker.framer

    def forward(self, features: Tensor, symbol: Tensor, elapsed: Tensor, left: Tensor) -> tuple[Tensor, ...]:
        return (self.framer(features, Alignment(symbol.flatten(1), elapsed.flatten(1), left.flatten(1))),)


class StepGraph(nn.Module):
    """(B,T,Q) codes of the previous frames, (B,T,D) plan and the cache -> (B,T,D) states and the cache."""

    def __init__(self, talker: CursorTalker) -> None:
        super().__init__()
        self.stack, self.history = talker.stack, talker.history

    def forward(self, before: Tensor, plan: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        for q, table in enumerate(self.history):
            plan = plan + table(before[..., q])
        states, present = grow(self.stack, plan, past)
        return states, *present


class FullSequenceGraph(nn.Module):
    """(B,T,D) plan of whole sentences -> (B,T,D) states, with bidirectional attention."""

    def __init__(self, talker: TalkerBase) -> None:
        super().__init__()
        self.stack = talker.stack

    def forward(self, plan: Tensor) -> tuple[Tensor, ...]:
        places = torch.arange(plan.shape[1], device=plan.device)
        span = Span(self.stack.rope_cos[places], self.stack.rope_sin[places], None, causal=False, cache=None)
        for block in self.stack.blocks:
            plan = block(plan, span)
        return (self.stack.norm(plan),)


class CodeHeadGraph(nn.Module):
    """(B,D) states and, except for the first head, the (B,q) previous codes -> (B,K) logits."""

    def __init__(self, talker: TalkerBase, number: int) -> None:
        super().__init__()
        self.heads, self.number = talker.heads, number

    def forward(self, states: Tensor, *codes: Tensor) -> tuple[Tensor, ...]:
        given = self.heads.given(states, self.number, codes[0]) if codes else states
        return (self.heads.heads[self.number](given),)


def graphs(module: TalkerBase) -> list[Graph]:
    decoder = _step(module) if isinstance(module, CursorTalker) else _whole(module)
    return [_reader(module), _framer(module), decoder, *(_head(module, q) for q in range(module.codes.codebooks))]


def _reader(module: TalkerBase) -> Graph:
    heard = module.thinker_width
    return Graph(
        name="reader",
        module=TextEncoderGraph(module),
        inputs=[
            GraphInput("ids", ("batch", "symbols"), GraphInput.below(written_form.COUNT)),
            GraphInput("voice", ("batch",), GraphInput.below(max(1, len(module.voices)))),
            *([GraphInput("thoughts", ("batch", "symbols", heard))] if heard else []),
        ],
        outputs=["features", "durations"],
        cases={
            "traced": {"batch": 2, "symbols": 9},
            "one symbol": {"batch": 1, "symbols": 1},
            "a long sentence": {"batch": 3, "symbols": 200},
        },
    )


def _framer(module: TalkerBase) -> Graph:
    config = module.config
    slots = ("batch", "frames", config.subframes)
    return Graph(
        name="framer",
        module=LengthRegulatorGraph(module),
        inputs=[
            GraphInput("features", ("batch", "symbols", config.d_text)),
            GraphInput("symbol", slots, GraphInput.below(2)),  # every case has at least two symbols
            GraphInput("elapsed", slots, GraphInput.below(2 * config.max_duration)),
            GraphInput("left", slots, GraphInput.below(2 * config.max_duration)),
        ],
        outputs=["plan"],
        cases={
            "traced": {"batch": 2, "frames": 5, "symbols": 7},
            "one frame": {"batch": 1, "frames": 1, "symbols": 2},
            "a long sentence": {"batch": 1, "frames": 100, "symbols": 200},
        },
    )


def _step(module: CursorTalker) -> Graph:
    config, states = module.config, past_states(module.config)

    def reference(before: Tensor, plan: Tensor, *past: Tensor) -> tuple[Tensor, ...]:
        cache = filled(module.stack, past, plan.shape[1])
        return module.states(before, plan, cache), *held_by(cache)

    return Graph(
        name="step",
        module=StepGraph(module),
        inputs=[
            GraphInput("before", ("batch", "time", module.codes.codebooks), GraphInput.below(module.codes.size)),
            GraphInput("plan", ("batch", "time", config.d_model)),
            *past_inputs(config),
        ],
        outputs=["states", *states.values()],
        cases=past_cases(config.ctx_len),
        states=states,
        initial_sizes={"batch": 2, "time": 1, "past": 0},
        calls=min(100, config.ctx_len),
        reference=reference,
    )


def _whole(module: TalkerBase) -> Graph:
    def reference(plan: Tensor) -> tuple[Tensor, ...]:
        before = torch.zeros(*plan.shape[:2], module.codes.codebooks, dtype=torch.long)
        return (module.states(before, plan),)

    return Graph(
        name="whole",
        module=FullSequenceGraph(module),
        inputs=[GraphInput("plan", ("batch", "frames", module.config.d_model))],
        outputs=["states"],
        cases={
            "traced": {"batch": 2, "frames": 5},
            "one frame": {"batch": 1, "frames": 1},
            "whole context": {"batch": 1, "frames": module.config.ctx_len},
        },
        reference=reference,
    )


def _head(module: TalkerBase, number: int) -> Graph:
    given = [GraphInput("codes", ("batch", number), GraphInput.below(module.codes.size))] if number else []
    return Graph(
        name=f"head{number}",
        module=CodeHeadGraph(module, number),
        inputs=[GraphInput("states", ("batch", module.config.d_model)), *given],
        outputs=["logits"],
        cases={"traced": {"batch": 3}, "one frame": {"batch": 1}},
    )


def steps(module: TalkerBase) -> list[Step]:
    """From characters to codes. The parallel Talker draws codes outside of its modules; that step is not shown."""
    slots = module.config.subframes
    drawn = Step(
        at="heads.draw",
        title="codes",
        what="the base code, then each residual code given those before it",
        counts=lambda a, b: f"1 state of {a[0]} -> {_many(b[0], 'code')}",
    )
    return [
        Step(
            at="reader",
            title="characters",
            what=f"convolutions over {module.config.reach} characters to either side",
            counts=lambda a, b: f"{_many(a[1], 'symbol')} -> {_many(b[1], 'feature')} of {b[2]}",
        ),
        Step(
            at="reader.expected",
            title="durations",
            what=f"duration of each symbol in slots, {slots} per frame",
            counts=lambda a, b: f"{_many(a[1], 'feature')} -> {_many(b[1], 'duration')}",
        ),
        Step(
            at="framer",
            title="plan",
            what="conditioning of each frame: the features of its symbols, by monotonic alignment",
            counts=lambda a, b: f"{_many(a[1], 'feature')} -> {_many(b[1], 'frame')} of {b[2]}",
        ),
        Step(
            at="states",
            title="transformer",
            what="the previous frames and the plan" if module.causal else "the plan of all frames at once",
            counts=lambda a, b: f"{_many(a[1], 'frame')} -> {_many(b[1], 'state')} of {b[2]}",
        ),
        *([drawn] if module.causal else []),
    ]


def _many(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"
