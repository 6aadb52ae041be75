"""Residual quantisation: codes that are the nearest, averages that move, and none that die."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from muomni_rvq.model import ResidualQuantizer, k_means, nearest


def clusters(count: int, per: int, width: int = 4, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Far centres, and points close around each."""
    rng = torch.Generator().manual_seed(seed)
    centers = 10 * torch.randn(count, width, generator=rng)
    return centers, (centers[:, None] + 0.01 * torch.randn(count, per, width, generator=rng)).flatten(0, 1)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 5), st.integers(2, 20), st.integers(0, 9))
def test_each_code_is_the_nearest_to_what_is_left(codebooks: int, size: int, seed: int) -> None:
    torch.manual_seed(seed)
    quantizer, points = ResidualQuantizer(codebooks, size, 4), torch.randn(2, 7, 4)
    codes, left = quantizer.encode(points), points
    assert codes.shape == (2, 7, codebooks)
    for number in range(codebooks):
        apart = torch.cdist(left, quantizer.table[number])
        chosen = apart.gather(-1, codes[..., number : number + 1])[..., 0]
        torch.testing.assert_close(chosen, apart.min(-1).values)
        left = left - quantizer.table[number][codes[..., number]]
    torch.testing.assert_close(points - quantizer.decode(codes), left, atol=1e-5, rtol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 40), st.integers(0, 9))
def test_codes_come_back_from_what_they_stand_for(size: int, seed: int) -> None:
    """With one codebook always; with more where each is finer than the gaps of the one before."""
    torch.manual_seed(seed)
    one = ResidualQuantizer(1, size, 6)
    codes = torch.randint(size, (3, 5, 1))
    assert torch.equal(one.encode(one.decode(codes)), codes)
    fine = ResidualQuantizer(3, size, 6)
    for number in range(3):
        gap = torch.pdist(fine.table[number]).min()
        fine.table[number + 1 :] *= gap / (8 * fine.table[number + 1 :].norm(dim=-1).max()) if number < 2 else 1
    codes = torch.randint(size, (3, 5, 3))
    assert torch.equal(fine.encode(fine.decode(codes)), codes)


def test_k_means_finds_the_centers() -> None:
    centers, points = clusters(8, 50)
    table, shares = k_means(points, 32, torch.Generator().manual_seed(0))
    assert torch.cdist(centers, table).min(1).values.max() < 0.1
    assert torch.isclose(shares.sum(), torch.tensor(1.0))


def test_a_start_codes_points_well_and_is_the_same_every_time() -> None:
    _, points = clusters(16, 30)
    points = points + torch.randn(points.shape, generator=torch.Generator().manual_seed(3))
    made = [ResidualQuantizer(2, 32, 4) for _ in range(2)]
    for quantizer in made:
        assert not quantizer.ready
        quantizer.begin(points, batch=100, seed=7)
        assert quantizer.ready
        torch.testing.assert_close(quantizer.counts.sum(1), torch.full((2,), 100.0))
    assert all(torch.equal(a, b) for a, b in zip(made[0].buffers(), made[1].buffers(), strict=True))
    left = points - made[0].decode(made[0].encode(points))
    first = points - made[0].table[0][nearest(points, made[0].table[0])]
    assert left.square().mean() < 0.6 * first.square().mean() < 0.1 * points.var()


def test_fewer_points_than_codes() -> None:
    quantizer = ResidualQuantizer(2, 16, 4)
    points = torch.randn(3, 4)
    quantizer.begin(points, batch=3, seed=0)
    torch.testing.assert_close(quantizer.decode(quantizer.encode(points)), points, atol=1e-4, rtol=1e-4)


def moved(quantizer: ResidualQuantizer, points: torch.Tensor, codes: torch.Tensor, seed: int = 0) -> None:
    """One step's update, from two micro-batches."""
    for part in (slice(0, 1), slice(1, None)):
        quantizer.collect(points[part], codes[part])
    quantizer.update(seed, torch.tensor(False))


def test_a_step_that_is_skipped_moves_no_code() -> None:
    quantizer = ResidualQuantizer(2, 4, 2)
    before = {name: value.clone() for name, value in quantizer.state_dict().items()}
    points = torch.full((6, 2), torch.nan)
    quantizer.collect(points, torch.zeros(6, 2, dtype=torch.int64))
    quantizer.update(0, torch.tensor(True))
    assert all(torch.equal(value, before[name]) for name, value in quantizer.state_dict().items())


def test_codes_are_moving_averages_of_what_they_stand_for() -> None:
    quantizer = ResidualQuantizer(1, 2, 2, decay=0.75, revive=0.0)
    quantizer.table.copy_(torch.tensor([[[0.0, 0.0], [10.0, 10.0]]]))
    quantizer.counts.copy_(torch.tensor([[4.0, 4.0]]))
    points = torch.tensor([[1.0, 0.0], [3.0, 0.0], [2.0, 0.0], [2.0, 4.0]])
    moved(quantizer, points, quantizer.encode(points))
    # 0.75 of 4 points at the origin and 0.25 of the four that sum to (8, 4); the other code keeps its place
    torch.testing.assert_close(quantizer.table[0], torch.tensor([[0.5, 0.25], [10.0, 10.0]]))
    torch.testing.assert_close(quantizer.counts[0], torch.tensor([4.0, 3.0]))


def test_codes_that_nothing_comes_to_are_put_where_points_are() -> None:
    torch.manual_seed(0)
    centers, points = clusters(8, 20)
    quantizer = ResidualQuantizer(1, 8, 4, decay=0.5, revive=0.1)
    quantizer.table.fill_(100.0)
    quantizer.table[0, 0] = 0.0  # all points come to one code
    used = []
    for step in range(40):
        codes = quantizer.encode(points)
        used.append(len(codes.unique()))
        moved(quantizer, points, codes, step)
    assert used[0] == 1
    assert used[-1] >= 7
    assert torch.cdist(centers, quantizer.table[0]).min(1).values.median() < 0.1


def test_everything_learned_is_in_the_checkpoint() -> None:
    _, points = clusters(8, 20)
    one, other = ResidualQuantizer(2, 8, 4), ResidualQuantizer(2, 8, 4)
    one.begin(points, batch=50, seed=0)
    moved(one, points[:50], one.encode(points[:50]))
    other.load_state_dict(one.state_dict())
    for quantizer in (one, other):
        moved(quantizer, points[50:90], quantizer.encode(points[50:90]))
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), other.buffers(), strict=True))


def test_autocast_changes_no_code() -> None:
    torch.manual_seed(0)
    quantizer, points = ResidualQuantizer(4, 64, 8), torch.randn(50, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        codes = quantizer.encode(points)
    assert torch.equal(codes, quantizer.encode(points))
