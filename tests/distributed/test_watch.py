"""Which process is named when a collective has failed, from what each has left in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
import torch.distributed as dist

from muomni_cli.training.distributed import watch
from muomni_cli.training.distributed.group import ProcessGroup
from muomni_cli.training.distributed.watch import Watch

Signs = Callable[..., Watch]


@pytest.fixture
def group() -> ProcessGroup:
    """The first of three processes, which wait 0.2 s for each other; nobody else is there."""
    made = ProcessGroup.__new__(ProcessGroup)
    made.rank, made.world_size, made.timeout = 0, 3, 0.2
    made.store = dist.HashStore()
    for rank in range(3):
        made.store.set(f"host/{rank}", f"host, pid {100 + rank}")
    return made


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "BEAT", 0.05)


@pytest.fixture
def signs(group: ProcessGroup) -> Iterator[Signs]:
    """A watch of the first process, which waits in its second step; the others give signs of life, but one of them.

    Closed afterwards: a watch that is left ends its process once the timeout has passed.
    """
    made: list[Watch] = []

    def give(*, silent: int | None, counts: tuple[int, int], seconds: float = 0.5) -> Watch:
        seen = Watch(group, "thinker")
        made.append(seen)
        for _ in range(2):
            seen.progressed()
        end, beats = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            beats += 1
            for rank, count in zip((1, 2), counts, strict=True):
                if rank != silent:
                    group.store.set(f"done/thinker/{rank}", f"{count} {beats}")
            time.sleep(0.02)
        return seen

    yield give
    for seen in made:
        seen.close()


def test_a_process_that_hangs_before_its_first_sign_of_life_is_named(signs: Signs) -> None:
    found = signs(silent=1, counts=(0, 2)).missing()
    assert found.named
    assert "no sign of life from process 1 (host, pid 101)" in found.what
    assert "process 2" not in found.what


def test_a_process_that_lives_and_is_behind_is_named(signs: Signs) -> None:
    found = signs(silent=None, counts=(2, 1)).missing()
    assert found.named
    assert "process 2 (host, pid 102) is behind" in found.what


def test_nobody_is_named_when_a_connection_breaks(group: ProcessGroup, signs: Signs) -> None:
    group.timeout = 60.0
    found = signs(silent=1, counts=(2, 2), seconds=0.1).missing()
    assert not found.named
    assert "another process has left" in found.what
