"""What the machine can do at its best, seen from a process with as many cores as the contenders."""

from tinygrad_llm.recipes.limits import measure_limits


class Limits:
    def seconds(self):
        """Of 10^9 operations of the fastest product, NumPy's or ours."""
        return 1 / measure_limits().gflops
