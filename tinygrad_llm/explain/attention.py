"""Attention maps: which key each query reads, as arrays from a running model and as SVG pictures.

A row is a query and sums to 1; the darker a cell, the more the query takes of that key's value.
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
LIGHT, DARK = (242, 246, 255), (8, 48, 107)
MARGIN, HEADING, LETTER = 24, 26, 6.2  # pixels
STYLE = """text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1e293b}
.t{font-size:14px;font-weight:600}.h{font-size:12px;text-anchor:middle}.k{font-size:10px}
.q{font-size:10px;text-anchor:end}.l{font-size:9px;text-anchor:middle;fill:#64748b}
.f{fill:#fafbfd;stroke:#cbd5e1}rect{shape-rendering:crispEdges}"""


def attention_maps(compute: Callable[[], object]) -> list[np.ndarray]:
    """The weights (B, H, T, S) of each attention that runs while compute() does, in order."""
    maps: list[np.ndarray] = []

    def after(op: Callable, operands: tuple, settings: dict, outputs: tuple) -> None:
        if op.__name__ == "scaled_dot_product_attention":
            q, k = (o.data if isinstance(o, Tensor) else o for o in operands[:2])
            maps.append(_weights(q, k, **settings))

    with no_grad(), watch(after):
        compute()
    if not maps:
        raise ValueError("no scaled_dot_product_attention ran: there is nothing to show")
    return maps


def _weights(
    q: np.ndarray,
    k: np.ndarray,
    mask: np.ndarray | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    **_: object,
) -> np.ndarray:
    k = np.repeat(k, q.shape[1] // k.shape[1], axis=1)  # grouped keys, one for each query head
    scale = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    return attention_weights(q, k, mask, is_causal, scale)


def attention_svg(
    weights: np.ndarray,
    tokens: Sequence[str],
    queries: Sequence[str] | None = None,
    title: str = "attention",
) -> str:
    """One heat map for each head of weights (H, T, S), as the text of an SVG file.

    tokens: S labels of the keys. queries: T labels of the rows; the tokens where left out.
    """
    keys = [visible(token) for token in tokens]
    rows = keys if queries is None else [visible(token) for token in queries]
    if weights.ndim != 3 or weights.shape[1:] != (len(rows), len(keys)):
        raise ValueError(
            f"weights of shape {weights.shape} for {len(rows)} queries and "
            f"{len(keys)} tokens; (heads, queries, tokens) is needed"
        )
    label = LETTER * max(map(len, (*rows, *keys)), default=0) + 10
    cell = min(24.0, max(11.0, 320 / max(len(keys), 1)))
    across = min(PER_LINE, max(len(weights), 1))
    wide = label + cell * len(keys) + MARGIN
    high = label + cell * len(rows) + MARGIN + HEADING
    width = max(MARGIN + across * wide, LETTER * len(title) + 200)
    height = MARGIN + HEADING + -(-len(weights) // PER_LINE) * high
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{STYLE}{_shades()}</style>",
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        f'<text class="t" x="{MARGIN}" y="{MARGIN}">{escape(title)}</text>',
        *_legend(width),
    ]
    for head, of_head in enumerate(weights):
        x, y = MARGIN + head % PER_LINE * wide, MARGIN + HEADING + head // PER_LINE * high
        middle = x + label + cell * len(keys) / 2
        parts.append(f'<text class="h" x="{middle:.1f}" y="{y + 12:.1f}">head {head}</text>')
        parts += _map(of_head, rows, keys, x + label, y + HEADING + label, cell)
    return "\n".join([*parts, "</svg>"]) + "\n"


def visible(token: str) -> str:
    """A token as a label: spaces and line ends by signs, at most 14 characters."""
    signs = {" ": "·", "\n": "↵", "\t": "⇥", "\r": "␍"}
    shown = "".join(signs.get(c, c if c.isprintable() else "�") for c in token)
    return shown if len(shown) <= 14 else shown[:13] + "…"


def _map(
    weights: np.ndarray, rows: list[str], keys: list[str], x: float, y: float, cell: float
) -> Iterator[str]:
    """One map whose first cell is at (x, y); cells below a thousandth stay empty."""
    yield (
        f'<rect class="f" x="{x:.1f}" y="{y:.1f}" width="{cell * len(keys):.1f}" '
        f'height="{cell * len(rows):.1f}"/>'
    )
    for i, row in enumerate(rows):
        at = f'x="{x - 6:.1f}" y="{y + cell * (i + 0.5) + 3.5:.1f}"'
        yield f'<text class="q" {at}>{escape(row)}</text>'
    for j, key in enumerate(keys):
        at = f"{x + cell * (j + 0.5) + 3.5:.1f} {y - 6:.1f}"
        yield f'<text class="k" transform="translate({at}) rotate(-90)">{escape(key)}</text>'
    for i, j in np.argwhere(weights >= 0.001):
        w = weights[i, j]
        hover = f"{rows[i]} reads {keys[j]}: {w:.3f}"
        yield (
            f'<rect class="s{_shade(w)}" x="{x + cell * j:.1f}" y="{y + cell * i:.1f}" '
            f'width="{cell:.1f}" height="{cell:.1f}"><title>{escape(hover)}</title></rect>'
        )


def _legend(width: float) -> Iterator[str]:
    """The shades from 0 to 1, at the right of the title's line."""
    step = 5
    x = width - MARGIN - SHADES * step
    for i in range(SHADES):
        yield f'<rect class="s{i}" x="{x + step * i:.1f}" y="14" width="{step}" height="10"/>'
    for value in (0, 0.25, 1):
        at = x + SHADES * step * math.sqrt(value)
        yield f'<text class="l" x="{at:.1f}" y="34">{value:g}</text>'


def _shade(weight: float) -> int:
    """The shade's number grows with the root of the weight, so that small ones are seen too."""
    return min(SHADES - 1, int(math.sqrt(min(max(weight, 0.0), 1.0)) * SHADES))


def _shades() -> str:
    mixed = [
        [round(a + (b - a) * i / (SHADES - 1)) for a, b in zip(LIGHT, DARK, strict=True)]
        for i in range(SHADES)
    ]
    return "".join(f".s{i}{{fill:rgb({r},{g},{b})}}" for i, (r, g, b) in enumerate(mixed))
