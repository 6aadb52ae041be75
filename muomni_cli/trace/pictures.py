"""Pictures for traces as SVG and PNG: patches, spectrograms, attention weights, codes and waveforms."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from muomni_cli.core.html_page import data_uri

if TYPE_CHECKING:
    from torch import Tensor

# Color map from lowest to highest value, evenly spaced, with increasing brightness.
COLORS = ((13, 14, 40), (66, 36, 116), (168, 52, 112), (238, 118, 66), (252, 232, 148))


@contextmanager
def captured() -> Iterator[list[NDArray[np.float32]]]:
    """Attention weights (H,T,S) of the first row of the batch, one for each call of ``scaled_dot_product_attention``
    inside the context, in order. Empty for models that compute attention differently. Results are unchanged."""
    import torch
    from torch.nn.functional import scaled_dot_product_attention
    from torch.overrides import TorchFunctionMode

    found: list[NDArray[np.float32]] = []

    class Capture(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            kwargs = kwargs or {}
            if func is scaled_dot_product_attention:
                with torch.inference_mode():
                    found.append(weights_of(*args, **kwargs)[0].float().cpu().numpy())
            return func(*args, **kwargs)

    with Capture():
        yield found


def weights_of(
    query: Tensor,
    key: Tensor,
    value: Tensor,  # noqa: ARG001 - the arguments are those of scaled_dot_product_attention
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,  # noqa: ARG001
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """(B,H,T,Dh) queries over (B,Hkv,S,Dh) keys -> (B,H,T,S) softmax weights."""
    import torch

    keys = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1) if enable_gqa else key
    scores = query.float() @ keys.float().transpose(-2, -1) * (scale or 1 / math.sqrt(query.shape[-1]))
    if is_causal:
        seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
        scores = scores.masked_fill(~seen, -math.inf)
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1)


def heat_map(
    values: NDArray[Any], alt: str, *, limits: tuple[float, float] | None = None, most: tuple[int, int] = (256, 600)
) -> str:
    """(H,W) values as an image whose first row is at the top.

    Args:
        values: finite numbers, at least one.
        alt: alternative text.
        limits: values of the darkest and the brightest color; None for minimum and maximum.
        most: maximum rows and columns; larger arrays are averaged down.
    """
    from PIL import Image

    small = _averaged(_averaged(values.astype(np.float64), most[0], 0), most[1], 1)
    low, high = limits or (float(small.min()), float(small.max()))
    shades = np.clip((small - low) / ((high - low) or 1.0), 0, 1) * 255
    places = np.linspace(0, len(COLORS) - 1, 256)
    palette = [np.interp(places, range(len(COLORS)), channel) for channel in zip(*COLORS, strict=True)]
    picture = Image.fromarray(shades.round().astype(np.uint8)).convert("P")
    picture.putpalette(np.stack(palette, axis=1).round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    return f'<img class="heat" src="{data_uri("image/png", file.getvalue())}" alt="{escape(alt)}">'


def _averaged(values: NDArray[np.float64], most: int, axis: int) -> NDArray[np.float64]:
    """At most ``most`` rows or columns, each the mean of its neighbors."""
    count = values.shape[axis]
    if count <= most:
        return values
    edges = np.linspace(0, count, most + 1).astype(int)
    sums = np.add.reduceat(values, edges[:-1], axis=axis)
    sizes = np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
    means: NDArray[np.float64] = sums / sizes
    return means


def patched(pixels: NDArray[Any], patch: int | None, alt: str) -> str:
    """(3,H,W) or (1,H,W) pixels as an image, with the borders of square patches if their size is known."""
    _, height, width = pixels.shape
    step = patch if patch and patch < max(height, width) else 0
    lines = [f"M{x} 0V{height}" for x in range(step, width, step)] if step else []
    lines += [f"M0 {y}H{width}" for y in range(step, height, step)] if step else []
    grid = f'<path class="grid" d="{"".join(lines)}"/>' if lines else ""
    return (
        f'<svg class="patches" role="img" aria-label="{escape(alt)}" viewBox="0 0 {width} {height}">'
        f'<image href="{_photograph(pixels)}" width="{width}" height="{height}"/>{grid}</svg>'
    )


def _photograph(pixels: NDArray[Any]) -> str:
    from PIL import Image

    values = pixels.astype(np.float64)
    if pixels.dtype != np.uint8:
        low, high = float(values.min()), float(values.max())
        values = (values - low) / ((high - low) or 1.0) * 255
    rows = np.moveaxis(values.round().astype(np.uint8), 0, -1)
    picture = Image.fromarray(rows[:, :, 0] if rows.shape[2] == 1 else np.ascontiguousarray(rows))
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    if file.tell() <= 100_000:  # larger photographs become JPEG
        return data_uri("image/png", file.getvalue())
    file = io.BytesIO()
    picture.thumbnail((512, 512))
    picture.save(file, "JPEG", quality=85)
    return data_uri("image/jpeg", file.getvalue())


def waveform(wave: NDArray[Any], alt: str) -> str:
    """(N,) samples, full scale 1, as minimum and maximum of each column; louder audio is scaled down."""
    count = min(600, len(wave))  # columns
    edges = np.linspace(0, len(wave), count + 1).astype(int)[:-1]
    scale = 48 / max(1.0, float(np.abs(wave).max()))
    lows, highs = (50 - scale * pick.reduceat(wave.astype(np.float64), edges) for pick in (np.minimum, np.maximum))
    path = "".join(
        f"M{x} {low + 0.4:.1f}V{high - 0.4:.1f}" for x, (low, high) in enumerate(zip(lows, highs, strict=True))
    )
    return (
        f'<svg class="wave" role="img" aria-label="{escape(alt)}" viewBox="0 0 {count} 100" preserveAspectRatio="none">'
        f'<path d="{path}"/></svg>'
    )


def segments(layout: Sequence[tuple[str, int]]) -> str:
    """A strip below a picture of a sequence: its segments, as wide as they are long."""
    parts = [
        f'<span style="flex:{count}" title="{escape(f"{name}: {count}")}">{escape(name)}</span>'
        for name, count in layout
    ]
    return f'<div class="segments" aria-hidden="true">{"".join(parts)}</div>'


def bars(shares: Sequence[tuple[str, float]]) -> str:
    """A horizontal bar for each probability, as a table."""
    rows = [
        f'<tr><th scope="row">{escape(name)}</th><td><div class="bar" style="width:{100 * share:.2f}%"></div></td>'
        f'<td class="figure">{share:.2%}</td></tr>'
        for name, share in shares
    ]
    return f'<table class="bars"><tbody>{"".join(rows)}</tbody></table>'
