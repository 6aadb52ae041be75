"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import CodecPart, hookimpl


@hookimpl
def register_codecs() -> list[CodecPart]:
    """The codec of this package."""
    return []
