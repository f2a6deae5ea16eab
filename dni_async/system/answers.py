"""What a process of ours answers the one that asked it, apart from what a user's code prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from dni_async.system import output

__all__ = ["Answer", "keep_for_answers"]

Answer = Callable[[Mapping[str, Any]], None]


def keep_for_answers() -> Answer:
    """What answers, a JSON line at a time, on the standard output that this process has now.

    What is printed from now on goes to the errors, and lasts. Call it before any code of the user's
    runs: a print of theirs is no answer.
    """
    output.last()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(row: Mapping[str, Any]) -> None:
        json.dump(row, answers)
        answers.write("\n")
        answers.flush()

    return answer
