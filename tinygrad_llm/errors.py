"""The one error for a mistake that the user can mend: it names the value and the remedy.

The command line prints it as one line and leaves with exit code 2. Any other exception is a defect
of ours.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InputError(ValueError):
    """A wrong argument, file or setting. The message says which value, and what to do about it."""


def suggest(name: str, known: Iterable[str], what: str) -> InputError:
    """An InputError for an unknown `name` that offers the nearest of the `known` ones."""
    known = sorted(known)
    nearest = difflib.get_close_matches(name[:80], known, n=1)
    hint = f"did you mean {nearest[0]!r}?" if nearest else f"known are: {', '.join(known)}"
    return InputError(f"unknown {what} {name!r:.80}; {hint}")


class NonFiniteLoss(ArithmeticError):
    """The loss or a gradient is NaN or infinite. The weights are those from before the step."""
