"""Self-attention weighs the parts of its input (PROOFS row 2): nothing sees the future, rows sum to
1, a heat map.

Run: python examples/04_attention.py [FOLDER of a trained model]
"""

import sys
from pathlib import Path

import numpy as np

from tinygrad_llm import GPT, GPTConfig, no_grad
from tinygrad_llm.explain.attention import attention_maps, attention_svg
from tinygrad_llm.formats.folder import load_model
from tinygrad_llm.text import ByteTokenizer, load_tokenizer

PROMPT = "The import statement finds a module and binds a name."


def leak(model, ids, position):
    """The largest change of any logit before `position` when the token there changes; it must be
    0.
    """
    changed = ids.copy()
    changed[0, position] = (changed[0, position] + 1) % model.config.vocab_size
    with no_grad():
        before, after = model(ids).data, model(changed).data
    return float(np.abs(before - after)[0, :position].max()), float(
        np.abs(before - after)[0, position:].max()
    )


def main(folder=None, out="attention.svg"):
    if folder:
        model, tokenizer = load_model(folder), load_tokenizer(folder)
    else:
        tokenizer = ByteTokenizer()
        model = GPT(
            GPTConfig(
                vocab_size=tokenizer.vocab_size, n_positions=64, n_layer=2, n_head=2, n_embd=32
            ),
            rng=np.random.default_rng(0),
        ).eval()
    ids = np.array([tokenizer.encode(PROMPT)[: model.config.n_positions]])
    past, future = leak(model, ids, ids.shape[1] // 2)
    maps = attention_maps(lambda: model(ids))
    row_error = max(float(np.abs(weights.sum(-1) - 1).max()) for weights in maps)
    above = max(float(np.abs(np.triu(weights, 1)).max()) for weights in maps)
    print(
        f"a changed token moves logits before it by {past} (must be 0), from it on by {future:.2g}"
    )
    print(f"rows of attention sum to 1 within {row_error:.1e} (limit 1e-6); on the future {above}")
    Path(out).write_text(attention_svg(maps[-1][0], [tokenizer.decode([i]) for i in ids[0]]))
    print(f"the heads of the last layer as a heat map: {out}")
    return past == 0.0 < future and row_error < 1e-6 and above == 0.0


if __name__ == "__main__":
    raise SystemExit(not main(*sys.argv[1:2]))
