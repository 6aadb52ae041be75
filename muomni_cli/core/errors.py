"""Errors that users may see: each says what is wrong and how to fix it. ``app.py`` turns them into two lines and an
exit code, and reports any other exception as a bug.
"""

from __future__ import annotations


class MuomniError(Exception):
    """A request failed: exit code 1.

    Args:
        what: one line that says what is wrong, without a full stop.
        fix: one line that says what to do; empty only if nothing can be done.
    """

    exit_code = 1

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        if fix:
            self.add_note(f"fix: {fix}")  # shown in tracebacks when muomni is used as a library


class RequestError(MuomniError):
    """An invalid request (argument, recipe, file, model): exit code 2."""

    exit_code = 2
