"""Progress: what is told how far long work has come: stage, how much is done, of how much (None:
unknown).
"""

from collections.abc import Callable

Progress = Callable[[str, int, int | None], object]
