"""Short ways to open models in tests."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, cast

from muomni_cli.inference.chat_model import ChatModel, chat_model
from muomni_cli.inference.settings import ChatOptions, GenerationSettings, settings_of
from muomni_cli.models.engines import CAN_CHAT, open_engine

if TYPE_CHECKING:
    from muomni_cli.models.run_engine import RunEngine


def open_chat(
    spec: str | None, options: ChatOptions | None = None, *, device: str = "auto", threads: int | None = None
) -> tuple[ChatModel, GenerationSettings]:
    """A chat model as for a conversation, and its settings."""
    engine = open_engine(spec, CAN_CHAT, device=device, threads=threads)
    return chat_model(engine, print, prefix_cache=True), settings_of(engine, options or ChatOptions())


def run_engine(spec: str | None = None) -> RunEngine:
    """The engine of a run, where nothing but a run will do."""
    return cast("RunEngine", open_engine(spec, replace(CAN_CHAT, run=True), device="cpu"))
