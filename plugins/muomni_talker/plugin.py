"""What this package offers to muomni. Knows no torch and no numpy: a listing imports this module."""

from muomni_cli.api import TalkerPart, hookimpl


@hookimpl
def register_talkers() -> list[TalkerPart]:
    """The Talkers of this package."""
    return []
