"""Attention maps: the weights that a model used, and a picture that shows them."""

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.explain.attention import attention_maps, attention_svg, visible

SPACE = {"s": "http://www.w3.org/2000/svg"}


def test_maps_of_a_gpt_sum_to_one_and_look_back_only():
    from tinygrad_llm.models import GPT, GPTConfig

    rng = np.random.default_rng(0)
    model = GPT(GPTConfig(vocab_size=11, n_positions=8, n_layer=3, n_head=2, n_embd=8), rng=rng)
    maps = attention_maps(lambda: model(rng.integers(11, size=(2, 7))))
    assert [m.shape for m in maps] == [(2, 2, 7, 7)] * 3
    for weights in maps:
        np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-6)
        assert not np.triu(weights, 1).any()


def test_maps_are_what_attention_multiplies_the_values_by():
    rng = np.random.default_rng(0)
    q, k, v = (
        rng.standard_normal((1, h, n, 4)).astype(np.float32) for h, n in ((4, 3), (2, 5), (2, 5))
    )
    mask = rng.random((3, 5)) < 0.7
    mask[:, 0] = True
    outputs = []
    (weights,) = attention_maps(
        lambda: outputs.append(F.scaled_dot_product_attention(q, k, v, mask=mask, scale=0.3))
    )
    np.testing.assert_allclose(weights @ np.repeat(v, 2, axis=1), outputs[0].data, atol=1e-6)


def test_code_without_attention_is_an_error():
    with pytest.raises(ValueError, match="no scaled_dot_product_attention ran"):
        attention_maps(lambda: None)


def test_the_picture_shows_every_head_token_and_weight():
    weights = np.array([[[1, 0], [0.25, 0.75]], [[1, 0], [0.9994, 0.0006]]])
    root = ET.fromstring(attention_svg(weights, [" the", "<&\n\x00"], title="layer <0>"))
    texts = [t.text for t in root.findall(".//s:text", SPACE)]
    assert texts.count("head 0") == texts.count("head 1") == 1 and "layer <0>" in texts
    assert texts.count("·the") == texts.count("<&↵�") == 4
    hovers = [t.text for t in root.findall(".//s:title", SPACE)]
    assert hovers == [
        "·the reads ·the: 1.000",
        "<&↵� reads ·the: 0.250",
        "<&↵� reads <&↵�: 0.750",
        "·the reads ·the: 1.000",
        "<&↵� reads ·the: 0.999",
    ]  # below a thousandth there is no cell


def test_darker_cells_mean_more_weight_and_rows_stand_in_order():
    weights = np.array([[[0.1, 0.9, 0.0]]])
    root = ET.fromstring(attention_svg(weights, ["a", "b", "c"], queries=["q"]))
    cells = [r for r in root.findall(".//s:rect", SPACE) if r.find("s:title", SPACE) is not None]
    shades = [int(cell.get("class")[1:]) for cell in cells]
    assert shades[0] < shades[1] and float(cells[0].get("x")) < float(cells[1].get("x"))


def test_labels_that_do_not_fit_the_weights_are_refused():
    with pytest.raises(ValueError, match=r"\(1, 2, 3\) for 2 queries and 2 tokens"):
        attention_svg(np.zeros((1, 2, 3)), ["a", "b"])


def test_long_tokens_are_cut():
    assert visible("a" * 20) == "a" * 13 + "…" and visible("\t x") == "⇥·x"
