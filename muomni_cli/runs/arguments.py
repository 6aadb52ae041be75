"""What a kind's ``build`` takes besides the config, read from what ``model.json`` says of a part. Knows no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from muomni_cli.contract.declarations import EncoderPart
from muomni_cli.contract.sound import MelConfig
from muomni_cli.contract.speech import Codec, CodeShape

ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "vocab_size": int,
    "mel": MelConfig.model_validate,
    "codes": lambda shape: CodeShape(**shape),
    "voices": tuple,
    "thinker_width": int,
}
"""Name of an argument -> how it is made of what stands there."""


def build_arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``build`` that an entry of ``model.json`` holds."""
    return {name: make(entry[name]) for name, make in ARGUMENTS.items() if name in entry}


def run_arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of ``runs`` besides the config and the graphs."""
    learned = {"learned": entry.get("learned", {})} if entry["kind"] == EncoderPart.kind else {}
    return build_arguments(entry) | learned


def code_shape(codec: Codec) -> CodeShape:
    """What a Talker must know of ``codec``."""
    return CodeShape(codec.codebooks, codec.codebook_size, codec.frame * codec.mel.hop / codec.mel.sample_rate)
