"""A trained model on one text, opened: attention maps, the graph of its loss, its backward pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.explain.attention import attention_maps, attention_svg
from tinygrad_llm.explain.graph import graph_of, to_dot, to_mermaid
from tinygrad_llm.explain.graph_svg import to_svg
from tinygrad_llm.explain.replay import render, replay
from tinygrad_llm.files import write_atomic
from tinygrad_llm.recipes.models import load_decoder
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.text import load_tokenizer


def explain_text(
    folder: str | Path, prompt: str, out: str | Path, reporter: Reporter | None = None
) -> Iterator[tuple[Path, str]]:
    """Write the files into `out`, and yield each path with what it shows.

    The loss is that of predicting each token of the prompt from those before it. Of a prompt longer
    than the model's context the beginning is explained.
    """
    model, tokenizer, out = load_decoder(folder), load_tokenizer(folder), Path(out)
    ids, context = tokenizer.encode(prompt), model.config.n_positions
    if len(ids) > context:
        (reporter or Reporter()).warn(
            f"the prompt has {len(ids)} tokens; only the first {context}, the model's context, "
            "are explained"
        )
        ids = ids[:context]
    if len(ids) < 2:
        raise InputError(f"the prompt {prompt!r} has {len(ids)} tokens; at least 2 are needed")
    out.mkdir(parents=True, exist_ok=True)
    tokens = [tokenizer.decode([index]) for index in ids]
    with no_grad():
        maps = attention_maps(lambda: model(np.array([ids])))
    for layer, weights in enumerate(maps):
        picture = attention_svg(weights[0], tokens)
        yield _write(out / f"attention-{layer}.svg", picture, f"attention of layer {layer}")
    loss = F.cross_entropy(model(np.array([ids[:-1]])), np.array([ids[1:]]))
    graph = graph_of(loss, list(model.named_parameters()))
    yield _write(out / "graph.svg", to_svg(graph), "the graph of the loss")
    yield _write(out / "graph.dot", to_dot(graph), "the same for Graphviz")
    yield _write(out / "graph.mmd", to_mermaid(graph), "the same for Mermaid")
    story = render(replay(loss, list(model.named_parameters())))
    yield _write(out / "backward.txt", story, "the backward pass, step by step")


def _write(path: Path, text: str, purpose: str) -> tuple[Path, str]:
    write_atomic(path, text)
    return path, purpose
