"""The graph of a loss as an SVG picture, drawn here: no program and no library is needed.

Rows follow the data from the top down. An arrow to the next row is a curve; a longer one runs in a
lane to the left, so that none passes behind a box. Size is linear in the graph's.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from html import escape

from tinygrad_llm.explain.graph import Arrow, Box, Graph

ROW, BOX_HEIGHT, GAP, LANE, MARGIN = 74, 38, 22, 14, 24
TITLE, DETAIL = 7.3, 6.1  # the width of a character in pixels, at 12 and 10 pixels a letter
LONGEST = 34  # characters of a line that are shown
COLOURS = {
    "leaf": ("#ffffff", "#8a94a6"),
    "matmul": ("#dbeafe", "#2563eb"),
    "attention": ("#ede9fe", "#7c3aed"),
    "normalize": ("#dcfce7", "#16a34a"),
    "activations": ("#ffedd5", "#ea580c"),
    "losses": ("#fee2e2", "#dc2626"),
    "elementwise": ("#fef9c3", "#ca8a04"),
    "selection": ("#fce7f3", "#db2777"),
    "reductions": ("#ccfbf1", "#0d9488"),
}
OTHER = ("#f1f5f9", "#64748b")
STYLE = """text{font-family:ui-monospace,Menlo,Consolas,'DejaVu Sans Mono',monospace;fill:#1e293b}
.t,.d{text-anchor:middle}.t{font-size:12px;font-weight:600}.d{font-size:10px;fill:#64748b}
.g{font-size:12px;fill:#94a3b8;text-anchor:end}
.e{fill:none;stroke:#94a3b8;stroke-width:1.3}"""


def to_svg(graph: Graph) -> str:
    """The picture as the text of an SVG file."""
    layout = _Layout(graph)
    width, height = layout.size()
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">',
        f"<style>{STYLE}</style>",
        '<defs><marker id="a" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0 0L8 4L0 8z" fill="#94a3b8"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>',
        *layout.bands(),
        *(f'<path class="e" marker-end="url(#a)" d="{layout.path(a)}"/>' for a in graph.arrows),
        *(_box(box, *layout.corner(i), layout.box_width) for i, box in enumerate(graph.boxes)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Layout:
    """Where everything goes: a row and a column for each box, a lane for each long arrow."""

    def __init__(self, graph: Graph):
        self.graph = graph
        self.rows = _rows(graph)
        self.columns = _columns(graph, self.rows)
        self.lanes = _lanes(graph, self.rows)
        self.operands = [0] * len(graph.boxes)
        for arrow in graph.arrows:
            self.operands[arrow.target] = max(self.operands[arrow.target], arrow.slot + 1)
        self.box_width = max(_width(box) for box in graph.boxes)
        self.left = MARGIN + LANE * (1 + max(self.lanes.values(), default=-1)) + LANE

    def size(self) -> tuple[float, float]:
        columns = max(self.columns) + 1
        return (
            self.left + columns * (self.box_width + GAP) + MARGIN,
            (max(self.rows) + 1) * ROW + 2 * MARGIN - (ROW - BOX_HEIGHT),
        )

    def corner(self, i: int) -> tuple[float, float]:
        """The upper left corner of box i."""
        return (self.left + self.columns[i] * (self.box_width + GAP), MARGIN + self.rows[i] * ROW)

    def path(self, arrow: Arrow) -> str:
        """From the middle of the source's lower edge to the operand's place on the upper one."""
        (x0, y0), (x1, y1) = self.corner(arrow.source), self.corner(arrow.target)
        x0, y0 = x0 + self.box_width / 2, y0 + BOX_HEIGHT
        spread = 16 * (arrow.slot - (self.operands[arrow.target] - 1) / 2)
        x1, y1 = x1 + self.box_width / 2 + spread, y1 - 2
        half = (ROW - BOX_HEIGHT) / 2
        leave = f"M{x0:.1f} {y0:.1f}C{x0:.1f} {y0 + half:.1f}"
        arrive = f"{x1:.1f} {y1 - half:.1f} {x1:.1f} {y1:.1f}"
        if self.rows[arrow.target] - self.rows[arrow.source] == 1:
            return f"{leave} {arrive}"
        lane = self.left - LANE * (self.lanes[arrow.source] + 1.5)
        return (
            f"{leave} {lane:.1f} {y0:.1f} {lane:.1f} {y0 + 2 * half:.1f}"
            f"V{y1 - 2 * half:.1f}C{lane:.1f} {y1:.1f} {arrive}"
        )

    def bands(self) -> Iterator[str]:
        """A shaded band behind the rows of every second group, and each one's name at the right."""
        spans: dict[int, list[int]] = {}
        for box, row in zip(self.graph.boxes, self.rows, strict=True):
            if box.kind != "leaf":
                first, last = spans.get(box.group, (row, row))
                spans[box.group] = [min(first, row), max(last, row)]
        width, names = self.size()[0], defaultdict(list)
        for group, (first, last) in spans.items():
            y, height = MARGIN + first * ROW - 18, (last - first + 1) * ROW
            names[y].append(self.graph.groups[group])
            if group % 2:
                yield f'<rect x="0" y="{y}" width="{width:.0f}" height="{height}" fill="#f8fafc"/>'
        for y, together in names.items():
            yield (
                f'<text class="g" x="{width - 10:.0f}" y="{y + 14}">'
                f"{escape(', '.join(together))}</text>"
            )


def _rows(graph: Graph) -> list[int]:
    """An operation stands below all that it reads; a leaf just above the first that reads it."""
    rows, readers = [1] * len(graph.boxes), defaultdict(list)
    for arrow in graph.arrows:  # in the order of their targets, so every source is settled
        readers[arrow.source].append(arrow.target)
        if graph.boxes[arrow.source].kind != "leaf":
            rows[arrow.target] = max(rows[arrow.target], rows[arrow.source] + 1)
    for i, box in enumerate(graph.boxes):
        if box.kind == "leaf":
            rows[i] = min(rows[reader] for reader in readers[i]) - 1
    return rows


def _columns(graph: Graph, rows: list[int]) -> list[int]:
    """From left to right in each row: the operations, then the leaves, each in their order."""
    columns, taken = [0] * len(graph.boxes), defaultdict(int)
    for i in sorted(range(len(graph.boxes)), key=lambda i: (graph.boxes[i].kind == "leaf", i)):
        columns[i] = taken[rows[i]]
        taken[rows[i]] += 1
    return columns


def _lanes(graph: Graph, rows: list[int]) -> dict[int, int]:
    """A lane for each box that is read below the next row; lanes that have ended are used again."""
    ends: dict[int, int] = {}
    for arrow in graph.arrows:
        if rows[arrow.target] - rows[arrow.source] > 1:
            ends[arrow.source] = max(ends.get(arrow.source, 0), rows[arrow.target])
    lanes, busy, free, count = {}, [], [], 0
    for source in sorted(ends, key=lambda i: (rows[i], i)):
        while busy and busy[0][0] <= rows[source]:
            heapq.heappush(free, heapq.heappop(busy)[1])
        if not free:
            free, count = [count], count + 1
        lanes[source] = heapq.heappop(free)
        heapq.heappush(busy, (ends[source], lanes[source]))
    return lanes


def _width(box: Box) -> float:
    return 20 + max(TITLE * min(len(box.title), LONGEST), DETAIL * min(len(box.detail), LONGEST))


def _box(box: Box, x: float, y: float, width: float) -> str:
    fill, line = COLOURS.get(box.kind, OTHER)
    title = box.title if len(box.title) <= LONGEST else "…" + box.title[1 - LONGEST :]
    detail = box.detail if len(box.detail) <= LONGEST else box.detail[: LONGEST - 1] + "…"
    radius, middle = BOX_HEIGHT / 2 if box.kind == "leaf" else 6, x + width / 2
    return (
        f'<g><title>{escape(box.hover)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
        f'height="{BOX_HEIGHT}" rx="{radius}" fill="{fill}" stroke="{line}"/>'
        f'<text class="t" x="{middle:.1f}" y="{y + 16:.1f}">{escape(title)}</text>'
        f'<text class="d" x="{middle:.1f}" y="{y + 30:.1f}">{escape(detail)}</text></g>'
    )
