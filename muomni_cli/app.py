"""The ``muomni`` command. It handles signals before it imports anything that takes time."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from muomni_cli.core import stopping


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and exit with its code (raises :class:`SystemExit`): 0 done, 1 failed, 2 invalid request, 130 or
    128 + signal stopped. Without ``arguments``, that of the command line, which is the whole work of the process."""
    code = 1
    try:
        if arguments is None:
            stopping.install()
        from muomni_cli.commands.cli import execute

        code = execute(list(sys.argv[1:] if arguments is None else arguments))
        if stopping.asked() is None:  # Typer turns KeyboardInterrupt into an exit code
            stopping.finish(code)
    except BaseException:
        if stopping.asked() is None:
            raise
    if number := stopping.asked():  # whatever a library made of it
        from muomni_cli.core.console import say

        say(stopping.line())
        code = 128 + number
        stopping.finish(code)
    raise SystemExit(code)
