"""Starts processes that train together, as torchrun would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
torch.set_num_threads(1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run_together(folder: Path, count: int, names: Sequence[str]) -> None:
    """``together.py`` in ``count`` processes."""
    shared = {"WORLD_SIZE": str(count), "LOCAL_WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1"}
    shared |= {"MASTER_PORT": str(free_port()), "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    processes = [
        subprocess.Popen(
            [sys.executable, str(HERE / "together.py"), str(folder), *names],
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(count)
    ]
    told = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * count, "\n".join(one[-2000:] for one in told)


@pytest.fixture(scope="session")
def together(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The folder in which so many processes have run every scenario, once for all tests."""
    made: dict[int, Path] = {}

    def run(count: int, *names: str) -> Path:
        if count not in made:
            made[count] = tmp_path_factory.mktemp(f"together{count}")
            run_together(made[count], count, names)
        return made[count]

    return run  # type: ignore[return-value]


@pytest.fixture
def run() -> Callable[..., None]:
    return lambda folder, count, *names: run_together(folder, count, names)
