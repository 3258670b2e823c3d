"""Attention's backward pass for a share of the heads: the weights are made again, a block of queries by keys at a time.

Scores lie as panels (queries, COLUMNS keys): so they are the packed operand of the products that give dk and dv;
transposed in small squares they are that of dq.
"""

import numpy as np
from numba import njit
from numpy import float32

from tinygrad_llm.kernels.attention_tiles import (
    COLUMNS, FLOAT_BYTES, ROWS, address_of, columns_of, dropout_keeps, keys_seen, matrix, pack_all_rows,
    pack_columns, pack_rows, packed_size, panels, product, rows_of, tile_product,
)
from tinygrad_llm.kernels.polynomials import FASTMATH, exp
from tinygrad_llm.kernels.rows import share

