"""Lets the tests of this folder import ``tiny``, and keeps PyTorch on one core."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
