"""Sources -> token shards -> windows. NumPy, no torch: import it inside the function that needs it."""

from __future__ import annotations

from muomni_cli.data.corpus import SourceStats, TextData, open_text
from muomni_cli.data.shards import Stream
from muomni_cli.data.tokenizer import train_tokenizer
from muomni_cli.data.windows import Mixture, Window, Windows

__all__ = ["Mixture", "SourceStats", "Stream", "TextData", "Window", "Windows", "open_text", "train_tokenizer"]
