"""A Talker's exported graphs as an :class:`muomni_talker.engine.Engine`. Knows neither torch nor who runs graphs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.api import Choose, CodeShape, Manner, Run, Said
from muomni_talker.config import SpeakerConfig
from muomni_talker.speaking import speak


class GraphEngine:
    """See :class:`muomni_talker.engine.Engine`.

    Args:
        config: of the Talker.
        codes: of its codec.
        voices: names, in the order of its table.
        thinker_width: as it was built with.
        graphs: name -> the open graph, as :mod:`muomni_talker.graphs` declares them.
    """

    def __init__(
        self,
        config: SpeakerConfig,
        codes: CodeShape,
        voices: Sequence[str],
        thinker_width: int,
        graphs: Mapping[str, Run],
    ) -> None:
        self.config, self.codes, self.voices, self.thinker_width = config, codes, tuple(voices), thinker_width
        self.causal = "step" in graphs
        self._graphs = graphs

    def read(
        self, ids: NDArray[Any], voice: int, thoughts: NDArray[Any] | None, kept: slice
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """See :class:`muomni_talker.engine.Engine`."""
        feeds = {"ids": ids[None], "voice": np.array([voice])}
        if self.thinker_width:
            silent = np.zeros((len(ids), self.thinker_width), np.float32)
            feeds["thoughts"] = (silent if thoughts is None else thoughts)[None]
        made = self._graphs["reader"](feeds)
        return made["features"][0, kept], made["durations"][0, kept]

    def plan(self, features: NDArray[Any], pointer: NDArray[Any]) -> NDArray[Any]:
        """See :class:`muomni_talker.engine.Engine`."""
        under = pointer.reshape(1, -1, self.config.slots, 3)
        slots = {name: np.ascontiguousarray(under[..., n]) for n, name in enumerate(("symbol", "elapsed", "left"))}
        made: NDArray[Any] = self._graphs["framer"]({"features": features[None], **slots})["plan"][0]
        return made

    def begin(self) -> dict[str, Any]:
        """See :class:`muomni_talker.engine.Engine`."""
        empty = np.zeros((1, self.config.kv_heads, 0, self.config.head_dim), np.float32)
        layers = range(self.config.n_layers)
        return {f"past_key_values.{layer}.{what}": empty for layer in layers for what in ("key", "value")}

    def step(self, before: NDArray[Any], plan: NDArray[Any], memory: dict[str, Any]) -> NDArray[Any]:
        """See :class:`muomni_talker.engine.Engine`."""
        made = self._graphs["step"]({"before": before[None, None], "plan": plan[None, None], **memory})
        memory.update({name: made[name.replace("past_key_values", "present")] for name in memory})
        state: NDArray[Any] = made["states"][0, 0]
        return state

    def whole(self, plan: NDArray[Any]) -> Sequence[NDArray[Any]]:
        """See :class:`muomni_talker.engine.Engine`."""
        return list(self._graphs["whole"]({"plan": plan[None]})["states"][0])

    def draw(self, state: NDArray[Any], choose: Choose) -> NDArray[Any]:
        """See :class:`muomni_talker.engine.Engine`."""
        codes = np.zeros(self.codes.codebooks, np.int64)
        for q in range(self.codes.codebooks):
            given = {"codes": codes[None, :q]} if q else {}
            codes[q] = choose(self._graphs[f"head{q}"]({"states": state[None], **given})["logits"][0])
        return codes


class RunTalker:
    """A Talker's graphs as a :class:`muomni_cli.contract.speech.Speaks`; arguments as of :class:`GraphEngine`."""

    def __init__(
        self,
        config: SpeakerConfig,
        graphs: Mapping[str, Run],
        codes: CodeShape,
        voices: Sequence[str],
        thinker_width: int,
    ) -> None:
        self._engine = GraphEngine(config, codes, voices, thinker_width, graphs)

    @property
    def voices(self) -> Sequence[str]:
        """See :class:`muomni_cli.contract.speech.Speaks`."""
        return self._engine.voices

    def speak(self, text: Iterable[Said], manner: Manner, choose: Choose) -> Iterator[NDArray[Any]]:
        """See :class:`muomni_cli.contract.speech.Speaks`."""
        return speak(self._engine, text, manner, choose)
