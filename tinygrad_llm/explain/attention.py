"""Attention maps: which key each query reads, as arrays from a running model and as SVG pictures.

A row is a query and sums to 1; the darker a cell, the more of that key's value goes into the row's result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from html import escape

import numpy as np

from tinygrad_llm.ops.attention import attention_weights
from tinygrad_llm.tensor import Tensor, no_grad, watch

PER_LINE = 4  # heads side by side
SHADES = 24
LIGHT, DARK = (247, 250, 255), (8, 48, 107)
MARGIN, TITLE = 24, 26  # pixels
STYLE = """text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1e293b}
.h{font-size:12px;font-weight:600;text-anchor:middle}.k{font-size:10px}
.q{font-size:10px;text-anchor:end}.f{fill:none;stroke:#cbd5e1}"""


def attention_maps(compute: Callable[[], object]) -> list[np.ndarray]:
    """The weights (B, H, T, S) of each attention that runs while compute() does, in order."""
    maps: list[np.ndarray] = []

    def after(op: Callable, operands: tuple, settings: dict, outputs: tuple) -> None:
        if op.__name__ == "scaled_dot_product_attention":
            q, k = (o.data if isinstance(o, Tensor) else o for o in operands[:2])
            scale = settings.get("scale")
            maps.append(attention_weights(
                q, np.repeat(k, q.shape[1] // k.shape[1], axis=1), settings.get("mask"),
                settings.get("is_causal", False), 1 / math.sqrt(q.shape[-1]) if scale is None else scale))

    with no_grad(), watch(after):
        compute()
    if not maps:
        raise ValueError("no scaled_dot_product_attention ran: there is nothing to show")
    return maps


def attention_svg(weights: np.ndarray, tokens: Sequence[str], queries: Sequence[str] | None = None,
                  title: str = "attention") -> str:
    """One heat map for each head of weights (H, T, S), as the text of an SVG file.

    tokens: S labels of the keys. queries: T labels of the rows; the tokens where left out.
    """
    keys = [visible(token) for token in tokens]
    rows = keys if queries is None else [visible(token) for token in queries]
    if weights.ndim != 3 or weights.shape[1:] != (len(rows), len(keys)):
        raise ValueError(f"weights of shape {weights.shape} for {len(rows)} queries and {len(keys)} "
                         "tokens; (heads, queries, tokens) is needed")
    label = 6.2 * max(map(len, (*rows, *keys)), default=0) + 8
    cell = min(24.0, max(11.0, 320 / max(len(keys), 1)))
    wide, high = label + cell * len(keys) + MARGIN, TITLE + label + cell * len(rows) + MARGIN
    lines = -(-len(weights) // PER_LINE)
    width = MARGIN + min(PER_LINE, len(weights)) * wide
    height = MARGIN + TITLE + lines * high
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
             f'viewBox="0 0 {width:.0f} {height:.0f}">', f"<style>{STYLE}{_shades()}</style>",
             f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
             f'<text x="{MARGIN}" y="{MARGIN}" font-size="14">{escape(title)}</text>', *_legend(width)]
    for head, map_ in enumerate(weights):
        x, y = MARGIN + head % PER_LINE * wide, MARGIN + TITLE + head // PER_LINE * high
        parts += _head(map_, rows, keys, f"head {head}", x + label, y + TITLE + label, cell)
    return "\n".join([*parts, "</svg>"]) + "\n"


def visible(token: str) -> str:
    """A token as a label: spaces and line ends by signs, at most 14 characters."""
    signs = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}
    shown = "".join(signs.get(c, c if c.isprintable() else "�") for c in token)
    return shown if len(shown) <= 14 else shown[:13] + "…"


def _head(weights: np.ndarray, rows: list[str], keys: list[str], name: str, x: float, y: float,
          cell: float) -> Iterator[str]:
    """One map whose first cell is at (x, y); cells below a thousandth stay empty."""
    width, height = cell * len(keys), cell * len(rows)
    yield f'<text class="h" x="{x + width / 2:.1f}" y="{y - height * 0 - 8:.1f}"></text>'
    for i, row in enumerate(rows):
        yield f'<text class="q" x="{x - 5:.1f}" y="{y + cell * (i + 0.5) + 3.5:.1f}">{escape(row)}</text>'
    for j, key in enumerate(keys):
        at = f"{x + cell * (j + 0.5) + 3.5:.1f} {y - 5:.1f}"
        yield f'<text class="k" transform="translate({at}) rotate(-90)">{escape(key)}</text>'
    for i, j in np.argwhere(weights >= 0.001):
        w = weights[i, j]
        yield (f'<rect class="s{_shade(w)}" x="{x + cell * j:.1f}" y="{y + cell * i:.1f}" '
               f'width="{cell:.1f}" height="{cell:.1f}"><title>{escape(rows[i])} reads '
               f'{escape(keys[j])}: {w:.3f}</title></rect>')
    yield f'<rect class="f" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}"/>'


def _shade(weight: float) -> int:
    """The shade's number grows with the root of the weight, so that small ones are seen too."""
    return min(SHADES - 1, int(math.sqrt(min(max(weight, 0.0), 1.0)) * SHADES))


def _shades() -> str:
    mixed = [[round(a + (b - a) * i / (SHADES - 1)) for a, b in zip(LIGHT, DARK, strict=True)]
             for i in range(SHADES)]
    return "".join(f".s{i}{{fill:rgb({r},{g},{b})}}" for i, (r, g, b) in enumerate(mixed))
