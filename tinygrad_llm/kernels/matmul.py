"""The compiled twins of ops/matmul.py: every product, forward and backward, is ours (gemm.py)."""

import numpy as np

from tinygrad_llm.kernels.gemm import gemm, products
