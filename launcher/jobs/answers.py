"""Keeps what a process answers apart from what a user's own code prints in it."""

from __future__ import annotations

import os
import sys
from typing import TextIO

__all__ = ["keep_for_answers"]


def keep_for_answers() -> TextIO:
    """The standard output, for answers alone; what is printed from now on goes to the errors.

    Call it before any code of the user's runs: a print of theirs is no answer.
    """
    sys.stdout.flush()
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers
