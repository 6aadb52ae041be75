"""Short forms of the fault tests, in `make test`; the long ones, with their figures in docs/reliability.md, in `make test-faults`."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from muomni_cli import load
from tests.faults import corruption, fuzz, kills, soak
from tests.whole import Whole

pytestmark = pytest.mark.long


def last(reports: object) -> object:
    *_, found = reports  # type: ignore[misc]
    return found


def test_a_training_that_is_killed_goes_on_to_the_same_weights(tmp_path: Path) -> None:
    assert kills.total(kills.trials(3, 0, tmp_path)).faults == []
