"""Overlap-add against sums written out, and the inverse of a transform in pieces."""

from __future__ import annotations

import pytest
import torch

from muomni_vocoders.griffin_lim import OverlapAddStream, overlap_add


@pytest.mark.parametrize(("window", "hop"), [(8, 2), (6, 4), (10, 3), (4, 4), (6, 5)])
def test_frames_that_were_cut_out_are_the_sound_again(window: int, hop: int) -> None:
    torch.manual_seed(0)
    shape = torch.hann_window(window + 1)[1:]  # no zero at its feet, so a hop of the whole window is heard everywhere
    wave, count = torch.randn(2, 15 * hop), 15
    padded = torch.nn.functional.pad(wave, (window // 2, window))
    frames = padded.unfold(1, window, hop)[:, :count] * shape * shape
    for cuts in ([15], [1] * 15, [0, 2, 5, 0, 8]):
        overlap = OverlapAddStream(shape, hop, 2)
        made = torch.cat([*(overlap.push(part) for part in frames.split(cuts, dim=1)), overlap.finish()], dim=1)
        assert made.shape == wave.shape
        sure = wave.shape[1] - max(0, hop - window // 2)  # beyond the last window nothing is known
        torch.testing.assert_close(made[:, :sure], wave[:, :sure])


def test_the_sum_of_frames() -> None:
    frames = torch.arange(12.0).reshape(1, 3, 4)
    assert overlap_add(frames, 3).tolist() == [[0, 1, 2, 3 + 4, 5, 6, 7 + 8, 9, 10, 11]]


def test_what_might_come_next_changes_nothing() -> None:
    overlap, frames = OverlapAddStream(torch.hann_window(8), 2, 1), torch.randn(1, 5, 8)
    overlap.push(frames)
    before = overlap.laid(frames).clone()
    torch.testing.assert_close(overlap.laid(frames), before)
    assert overlap.weights(3).shape == (1, 2 * 2 + 8)
