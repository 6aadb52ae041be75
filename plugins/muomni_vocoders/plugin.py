"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import VocoderPart, hookimpl


@hookimpl
def register_vocoders() -> list[VocoderPart]:
    """The vocoders of this package."""
    return []
