"""The errors a user may meet. Raised anywhere, turned into two lines and an exit code in ``app.py`` only.

Each carries what is wrong and what to do about it. Anything else that reaches ``app.py`` is a bug of ours and is
reported as one.
"""

from __future__ import annotations


class MuomniError(Exception):
    """Something went wrong while doing what was asked: exit code 1.

    Args:
        what: one line that says what is wrong, without a full stop.
        fix: one line that says what to do; may be empty only when there is nothing to do.
    """

    exit_code = 1

    def __init__(self, what: str, fix: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.fix = fix
        if fix:
            self.add_note(f"fix: {fix}")  # a traceback shows it, where muomni is used as a library


class RequestError(MuomniError):
    """What was asked for is wrong (an argument, a recipe, a file, a model that is not there): exit code 2."""

    exit_code = 2
