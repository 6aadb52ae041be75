"""Streaming convolutions over time, and a streaming ConvNeXt block (arXiv:2201.03545).

A causal layer maps (B,T,C) and its past to its output and its next past; None is a past of zeros. Since the state is
plain tensors, it can be an input and output of an exported graph. Concatenated chunks equal the whole.

Shapes: B batch, T frames, C channels, K kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

FEW = 32  # frames up to which one product and a sum are faster than a library convolution with its setup cost
State = tuple[Tensor, ...]  # the state of all layers of a stack
Step = Callable[[Tensor, State | None], tuple[Tensor, State]]


class Causal(nn.Module):
    """A layer with a past: ``forward(x, past) -> (y, past)``. ``memory``: shape of its past, without the batch."""

    memory: tuple[int, ...]

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """(B,T,...) and its past (B, *memory), or None at the beginning -> (B,T',...) and the next past."""
        raise NotImplementedError


def joined(x: Tensor, past: Tensor | None, reach: int) -> tuple[Tensor, Tensor]:
    """(B,T,C) after its past (B,reach,C), zeros if None -> (B,reach+T,C), and its last ``reach`` frames."""
    window = F.pad(x, (0, 0, reach, 0)) if past is None else torch.cat((past, x), dim=1)
    return window, window[:, window.shape[1] - reach :]


class CausalConv(Causal):
    """Causal convolution over time; its past is the last K - 1 frames of its input.

    ``width``: output channels, default ``channels``; ``depthwise``: one filter per channel (``width`` = ``channels``).
    """

    def __init__(self, channels: int, kernel: int, width: int | None = None, *, depthwise: bool = False) -> None:
        super().__init__()
        width = width or channels
        assert not depthwise or width == channels, "a depthwise convolution keeps its channels"
        self.reach, self.depthwise = kernel - 1, depthwise
        self.memory = (self.reach, channels)
        self.weight = nn.Parameter(torch.empty(width, 1 if depthwise else channels, kernel))
        self.bias = nn.Parameter(torch.zeros(width))
        nn.init.trunc_normal_(self.weight, std=1 / math.sqrt(self.weight[0].numel()))

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        window, past = joined(x, past, self.reach)
        return self.slide(window), past

    def centered(self, x: Tensor) -> Tensor:
        """(B,T,C) -> (B,T,W), non-causal: the kernel is centered on each frame, zeros beyond both ends."""
        ahead = self.reach // 2
        return self.slide(F.pad(x, (0, 0, self.reach - ahead, ahead)))

    def slide(self, window: Tensor) -> Tensor:
        """(B,K-1+T,C) -> (B,T,W): convolution without padding."""
        if not torch.compiler.is_exporting():
            frames = window.shape[1] - self.reach
            if frames == 0:
                return window.new_zeros(window.shape[0], 0, self.weight.shape[0])
            if frames <= FEW and not torch.is_grad_enabled():
                places = window.unfold(1, self.reach + 1, 1)  # (B,T,C,K)
                if self.depthwise:
                    return (places * self.weight[:, 0]).sum(-1) + self.bias
                return F.linear(places.flatten(2), self.weight.flatten(1), self.bias)
        # As an image of height 1 in channels-last layout: many times faster on a CPU than conv1d, which copies twice.
        image = window.transpose(1, 2)[:, :, None]
        groups = self.weight.shape[0] if self.depthwise else 1
        return F.conv2d(image, self.weight[:, :, None], self.bias, groups=groups)[:, :, 0].transpose(1, 2)


class CausalStack(nn.Module):
    """Layers in sequence: :class:`Causal` ones, and others that map (B,T,...) frame by frame.

    With ``lookahead``, an output frame may depend on that many later input frames. The layers stay causal and are
    trained to answer late: the input is followed by ``lookahead`` zero frames, and as much of the first output is
    dropped. ``width``: input channels; ``factor``: output frames (or samples) per input frame.
    """

    def __init__(self, layers: Iterable[nn.Module], width: int, *, lookahead: int = 0, factor: int = 1) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.width, self.lookahead, self.factor = width, lookahead, factor

    @property
    def memories(self) -> list[tuple[int, ...]]:
        """Shapes of the state's tensors, without the batch."""
        return [layer.memory for layer in self.layers if isinstance(layer, Causal)]

    def start(self, batch: int = 1) -> State:
        """The initial state: (B, *memory) zeros each, the same as None."""
        like = next(self.parameters())
        return tuple(like.new_zeros(batch, *memory) for memory in self.memories)

    def forward(self, x: Tensor, past: Sequence[Tensor] | None = None) -> tuple[Tensor, State]:
        """(B,T,C) and the state -> (B, factor*T, ...), delayed by the lookahead, and the next state."""
        before = None if past is None else iter(past)
        after: list[Tensor] = []
        for layer in self.layers:
            if isinstance(layer, Causal):
                x, held = layer(x, None if before is None else next(before))
                after.append(held)
            else:
                x = layer(x)
        return x, tuple(after)

    def whole(self, x: Tensor) -> Tensor:
        """(B,T,C) of a whole sequence -> (B, factor*T, ...), without delay."""
        made, _ = self(F.pad(x, (0, 0, 0, self.lookahead)))
        return made[:, self.lookahead * self.factor :]  # type: ignore[no-any-return]

    def stream(self, batch: int = 1) -> CausalStream:
        """:meth:`whole` for input that arrives in chunks."""
        tail = next(self.parameters()).new_zeros(batch, self.lookahead, self.width)
        return CausalStream(self, tail, self.lookahead * self.factor)


class CausalStream:
    """A stream through a causal step (a ``TensorStream``). Reusable after :meth:`finish`.

    Args:
        step: input and state -> output and state; no frames for no frames.
        tail: fed after the end.
        late: output frames (or samples) to drop at the beginning; as many as ``tail`` yields.
    """

    def __init__(self, step: Step, tail: Tensor, late: int) -> None:
        self._step, self._tail, self._late, self._drop = step, tail, late, late
        self._past: State | None = None

    @torch.inference_mode()
    def push(self, piece: Tensor) -> Tensor:
        """Take (B,T,C), T may be 0; returns the output that is complete."""
        made, self._past = self._step(piece, self._past)
        if self._drop:
            drop = min(self._drop, made.shape[1])
            self._drop -= drop
            made = made[:, drop:]
        return made

    def finish(self) -> Tensor:
        """The rest, after the end of the input."""
        made = self.push(self._tail)
        self._past, self._drop = None, self._late
        return made

    def over(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """The non-empty outputs of all ``pieces`` and of the end."""
        for piece in pieces:
            if (made := self.push(piece)).shape[1]:
                yield made
        if (made := self.finish()).shape[1]:
            yield made


class ConvNeXt(Causal):
    """Depthwise convolution, LayerNorm, pointwise up, GELU, pointwise down, layer scale, residual.

    ``hidden``: width between the pointwise layers, default 4C; ``scale``: initial layer scale, such as 1 / blocks."""

    def __init__(self, channels: int, hidden: int | None = None, *, kernel: int = 7, scale: float = 0.1) -> None:
        super().__init__()
        hidden = hidden or 4 * channels
        self.conv = CausalConv(channels, kernel, depthwise=True)
        self.memory = self.conv.memory
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up = nn.Linear(channels, hidden)
        self.down = nn.Linear(hidden, channels)
        self.scale = nn.Parameter(torch.full((channels,), scale))
        for layer in (self.up, self.down):
            nn.init.trunc_normal_(layer.weight, std=1 / math.sqrt(layer.in_features))
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor, past: Tensor | None = None) -> tuple[Tensor, Tensor]:
        mixed, past = self.conv(x, past)
        return self._add(x, mixed), past

    def centered(self, x: Tensor) -> Tensor:
        """(B,T,C) -> (B,T,C), non-causal."""
        return self._add(x, self.conv.centered(x))

    def _add(self, x: Tensor, mixed: Tensor) -> Tensor:
        hidden = F.gelu(self.up(self.norm(mixed)))
        return torch.addcmul(x, self.down(hidden), self.scale.to(hidden.dtype))
