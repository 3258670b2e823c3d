"""The graph of a loss as DOT, Mermaid and SVG: complete, escaped, linear in size, well formed."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.explain.graph import graph_of, to_dot, to_mermaid
from tinygrad_llm.explain.graph_svg import BOX_HEIGHT, _Layout, to_svg
from tinygrad_llm.tensor import Tensor

WILD, SHOWN = 'a"b\\<&>;{}\n]', 'a"b\\<&>;{} ]'


def leaf(*values):
    return Tensor(np.array(values, np.float32), requires_grad=True)


@pytest.fixture
def small():
    """c = a + a; loss = sum(tanh(c b) + c)."""
    a, b = leaf(2.0), leaf(3.0)
    c = a + a
    return graph_of(((c * b).tanh() + c).sum(), [("a", a), (WILD, b)])


def gpt(layers):
    from tinygrad_llm.models import GPT, GPTConfig

    rng = np.random.default_rng(0)
    config = GPTConfig(vocab_size=11, n_positions=8, n_layer=layers, n_head=2, n_embd=8)
    model = GPT(config, rng=rng)
    loss = F.cross_entropy(model(rng.integers(11, size=(1, 8))), rng.integers(11, size=(1, 8)))
    return graph_of(loss, model.named_parameters())


def test_boxes_and_arrows_are_the_graph(small):
    titles = [box.title for box in small.boxes]
    assert titles == ["a", "#1 add", SHOWN, "#2 multiply", "#3 tanh", "#4 add", "#5 sum"]
    arrows = [(titles[a.source], titles[a.target]) for a in small.arrows]
    assert arrows == [
        ("a", "#1 add"),
        ("a", "#1 add"),
        ("#1 add", "#2 multiply"),
        (SHOWN, "#2 multiply"),
        ("#2 multiply", "#3 tanh"),
        ("#3 tanh", "#4 add"),
        ("#1 add", "#4 add"),
        ("#4 add", "#5 sum"),
    ]
    assert all(a.source < a.target for a in small.arrows)


def test_constants_and_frozen_leaves_are_left_out():
    x = leaf(1.0)
    graph = graph_of((x * Tensor([2.0]) * 3).sum())
    assert [box.title for box in graph.boxes] == ["leaf 1", "#1 multiply", "#2 multiply", "#3 sum"]
    with pytest.raises(ValueError, match="no history"):
        graph_of(x)


def test_dot_is_escaped_and_complete(small):
    text = to_dot(small)
    assert text.count("->") == len(small.arrows) and text.count("[label=") == len(small.boxes)
    assert '[label="a\\"b\\\\<&>;{} ]\\n(1,)", style=filled];' in text
    assert len(re.findall(r'(?<!\\)"', text)) == 2 * len(small.boxes)


def test_mermaid_is_escaped_and_complete(small):
    text = to_mermaid(small)
    assert text.startswith("flowchart TD\n") and text.count("-->") == len(small.arrows)
    assert '(["a#quot;b\\#lt;#amp;#gt;;{} ]<br/>(1,)"])' in text
    assert len(text.splitlines()) == 1 + len(small.boxes) + len(small.arrows)


def test_operations_stand_with_their_module():
    graph = gpt(2)
    assert graph.groups == ["wte", "wpe", "h.0", "h.1", "ln_f", "wte"]
    in_block = {
        box.title.split(".")[1]
        for box in graph.boxes
        if box.kind == "leaf" and graph.groups[box.group] == "h.1"
    }
    assert in_block == {"1"}
    assert 'subgraph cluster_2 { label="h.0";' in to_dot(graph)
    assert 'subgraph g3["h.1"]' in to_mermaid(graph)


def test_svg_is_well_formed_and_complete(small):
    root = ET.fromstring(to_svg(small))
    space = {"s": "http://www.w3.org/2000/svg"}
    assert len(root.findall(".//s:path[@class='e']", space)) == len(small.arrows)
    shown = [text.text for text in root.findall(".//s:text[@class='t']", space)]
    assert shown == [box.title for box in small.boxes]
    hovers = [title.text for title in root.findall(".//s:title", space)]
    assert any("y = tanh x" in hover and "activations.py:" in hover for hover in hovers)


@pytest.mark.parametrize("layers", [1, 3])
def test_no_boxes_overlap_and_every_arrow_points_down(layers):
    graph = gpt(layers)
    layout = _Layout(graph)
    corners = [layout.corner(i) for i in range(len(graph.boxes))]
    assert len(set(corners)) == len(corners) and min(layout.rows) == min(layout.columns) == 0
    width, height = layout.size()
    assert all(
        0 <= x and x + layout.box_width <= width and y + BOX_HEIGHT <= height for x, y in corners
    )
    assert all(corners[a.source][1] + BOX_HEIGHT < corners[a.target][1] for a in graph.arrows)


def test_long_arrows_run_beside_the_boxes_each_in_a_lane():
    graph = gpt(3)
    layout = _Layout(graph)
    spans = {}
    for a in graph.arrows:
        if layout.rows[a.target] - layout.rows[a.source] > 1:
            assert layout.left - 14 * (layout.lanes[a.source] + 1.5) < layout.left
            spans.setdefault(a.source, []).append(layout.rows[a.target])
    assert len(spans) >= 6  # two residual arrows a block, and the tied embedding
    intervals = [(layout.lanes[s], layout.rows[s], max(ends)) for s, ends in spans.items()]
    for i, (lane, first, last) in enumerate(intervals):
        for other, begin, end in intervals[i + 1 :]:
            assert lane != other or last <= begin or end <= first


def test_pictures_grow_linearly_and_a_deep_graph_needs_no_stack():
    sizes = [len(to_svg(gpt(layers))) for layers in (2, 4, 8)]
    assert sizes[2] - sizes[1] == pytest.approx(2 * (sizes[1] - sizes[0]), rel=0.1)
    y = x = leaf(1.0)
    for _ in range(5_000):
        y = y * x
    graph = graph_of(y.sum())
    assert len(graph.boxes) == 5_002 and to_svg(graph).count("<rect") >= 5_002
    assert to_dot(graph).count("->") == to_mermaid(graph).count("-->") == 10_001
