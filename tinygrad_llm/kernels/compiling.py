"""How kernels are compiled."""

# Sums may be reordered into vectors, but NaN and infinity keep their meaning: masks are -inf.
FASTMATH = {"contract", "reassoc", "arcp", "nsz", "afn"}

# For functions that compiled code alone calls: without the wrapper for Python, a third faster.
INNER = {"error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
