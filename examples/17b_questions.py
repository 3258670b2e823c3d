"""Question answering (PROOFS row 17): a small Llama reads stories like those of bAbI (Weston et al.
2015) and learns to answer, the loss on the answers alone: "locate mary" takes one fact, "locate
ball" two, who took it and where she went. Between them the others walk and take things.

Not every seed gets there: a model soon knows the places of all who took something, right in 76%,
and which of them took the ball it finds within these steps or stays; the mark is for the mean.
Unseen: training sees some 10^5 of more than 10^10 stories, and the tested ones are drawn anew.
Beside it stands the last place that the story names; a guess is right once in 6 times.
Run: python examples/17b_questions.py [seeds]      (minutes a seed)
"""

import itertools
import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import Llama, LlamaConfig, no_grad
from tinygrad_llm.finetuning.instructions import Encoded, pad
from tinygrad_llm.training.loop import fit
from tinygrad_llm.training.objectives import IGNORE, next_token

PEOPLE, THINGS = "mary john sandra daniel".split(), "ball book apple".split()
PLACES = "kitchen garden office hallway bedroom bathroom".split()
WORDS = [*PEOPLE, *THINGS, *PLACES, *"went to the took locate .".split()]
ASK, LEAST, SENTENCES = WORDS.index("locate"), len(PEOPLE), 8


def story(sentences, rng):
    """Sentences, and who and what is where in the end. First all go somewhere."""
    place, holder, text, first = {}, {}, [], rng.permutation(PEOPLE).tolist()
    while len(text) < sentences:
        who = first.pop() if first else PEOPLE[rng.integers(LEAST)]
        thing, where = THINGS[rng.integers(len(THINGS))], PLACES[rng.integers(len(PLACES))]
        if who in place and thing not in holder and rng.random() < 0.5:
            holder[thing], said = who, f"took the {thing}"
        else:
            place[who], said = where, f"went to the {where}"
        text.append(f"{who} {said} .")
    return text, place | {thing: place[who] for thing, who in holder.items()}


def batches(questions, rng, size=64, least=SENTENCES, grows=1):
    """Stories with so many questions each, of which the answers alone are targets.

    least: sentences of the first ones; each `grows` batches they may be one longer. Who begins
    with whole ones names the last place, and learns no more in 2,000 steps: Elman 1993.
    """
    for step in itertools.count():
        rows = []
        for n in rng.integers(least, min(SENTENCES, least + step // grows) + 1, size):
            text, ends = story(n, rng)
            asked = rng.permutation(list(ends))[:questions]
            # Things first: where someone is, once it is said, would say where his things are.
            text += [f"locate {x} {ends[x]}" for x in sorted(asked, key=PEOPLE.__contains__)]
            rows.append(Encoded(np.array([WORDS.index(w) for w in " ".join(text).split()]), 1))
        inputs, targets = pad(rows)
        yield inputs, np.where(np.roll(inputs, 1, 1) == ASK, targets, IGNORE)


def scores(model, rng, size):
    """Of one fact, then of two: how often the model is right, and how often the last place."""
    inputs, targets = next(batches(1, rng, size))
    with no_grad():
        best = model.eval()(inputs).data.argmax(-1)
    ends = targets != IGNORE
    last = [[i for i in x[: x.index(ASK)] if WORDS[i] in PLACES][-1] for x in inputs.tolist()]
    for some in (inputs[ends] < LEAST, inputs[ends] >= LEAST):  # people, things
        yield [(found == targets[ends])[some].mean() for found in (best[ends], last)]


def main(seeds=(1,), steps=3000, tested=2000, mark=0.8):
    found = []
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        # Vocabulary, width, that of the feed-forward network, layers, heads twice, context.
        model = Llama(LlamaConfig(len(WORDS), 64, 128, 4, 4, 4, 80, initializer_range=0.1), rng=rng)
        # Words as loud as what layers add to them, so that a question's "ball" finds the story's.
        model.embed_tokens.weight.data *= 10
        stream = batches(7, rng, least=LEAST, grows=max(1, steps // 40))
        fit(model, next_token, stream, steps=steps, lr=3e-3, rng=rng, progress=tqdm)
        found.append(list(scores(model, rng, tested)))
        for facts, (ours, last) in enumerate(found[-1], 1):
            print(f"seed {seed}, facts {facts}: {ours:.1%}, mark {mark:.0%}; last place {last:.1%}")
    return np.mean(found, axis=0)[:, 0].min() >= mark


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))
