"""Streaming through a function of whole sequences whose output depends on a limited stretch of its input: a
convolutional network that is not causal, or one that is but keeps no state. For arrays of PyTorch and of numpy alike;
imports neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

Join = Callable[[Sequence[Any]], Any]
FIRST = 8  # frames of the first block: audio starts early; codecs of waveforms rely on so many (WaveCodec)


class ContextStream:
    """A stream over (B,T,...) -> (B, hop*T), block by block, each with its context: the same numbers, but for rounding,
    as of the whole, however the input is cut into chunks. Reusable after :meth:`finish`.

    Args:
        run: (B,T,...) -> (B, hop*T).
        hop: output samples per input frame.
        before: frames that an output depends on before its own; None for all of them.
        after: frames that an output depends on after its own.
        most: frames of the largest block; blocks double in size, so that little is computed twice. None: no limit.
        nothing: (B,0) output.
        join: concatenates along T.
    """

    def __init__(
        self,
        run: Callable[[Any], Any],
        hop: int,
        *,
        before: int | None,
        after: int,
        most: int | None,
        nothing: Any,
        join: Join,
    ) -> None:
        self._run, self._hop, self._before, self._after = run, hop, before, after
        self._most, self._nothing, self._join = most, nothing, join
        self._held: Any = None
        self._done = self._size = 0
        self._begin()

    def push(self, piece: Any) -> Any:
        """(B,T,...) -> the samples of the blocks that are complete with it."""
        self._held = piece if self._held is None else self._join([self._held, piece])
        made = [self._nothing]
        while self._held.shape[1] - self._done >= self._size + self._after:
            made.append(self._block(self._size, self._done + self._size + self._after))
            self._size = 2 * self._size if self._most is None else min(2 * self._size, self._most)
        return self._join(made)

    def finish(self) -> Any:
        """The samples of the rest."""
        left = 0 if self._held is None else self._held.shape[1] - self._done
        made = self._block(left, self._held.shape[1]) if left else self._nothing
        self._begin()
        return made

    def _begin(self) -> None:
        self._held = None
        self._done = 0  # frames of it that are context only
        self._size = FIRST if self._most is None else min(FIRST, self._most)

    def _block(self, count: int, end: int) -> Any:
        """The samples of the next ``count`` frames, from what is held up to ``end``."""
        samples = self._run(self._held[:, :end])[:, self._done * self._hop : (self._done + count) * self._hop]
        self._done += count
        if self._before is not None and self._done > self._before:
            self._held = self._held[:, self._done - self._before :]
            self._done = self._before
        return samples


class RowStream:
    """A stream of single sequences, (T,...) -> (N,), over one of batches. An ``ArrayStream``."""

    def __init__(self, stream: ContextStream) -> None:
        self._stream = stream

    def push(self, piece: Any) -> Any:
        """(T,...) -> the samples (N,) that are final with it."""
        return self._stream.push(piece[None])[0]

    def finish(self) -> Any:
        """The rest of the samples."""
        return self._stream.finish()[0]
