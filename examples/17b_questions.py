"""Question answering (PROOFS row 17): a GPT reads stories like those of bAbI (Weston et al. 2015),
then learns to answer, the loss on the answer alone: "where is mary ?" takes one fact, "where is the
ball ?" two, who took it and where she went. Distractors: the others' walks, and what they took.

Unseen: training sees some 10^5 of more than 10^10 stories, and the tested ones are drawn anew.
Beside it stands the last place that the story names; a guess is right once in 6 times.
Run: python examples/17b_questions.py [seeds]      (minutes a seed)
"""

import sys

import numpy as np
from tqdm import tqdm

from tinygrad_llm import GPT, GPTConfig, no_grad
from tinygrad_llm.finetuning.instructions import Encoded, pad
from tinygrad_llm.training.loop import fit
from tinygrad_llm.training.objectives import IGNORE, next_token

PEOPLE, THINGS = "mary john sandra daniel".split(), "ball book apple".split()
PLACES = "kitchen garden office hallway bedroom bathroom".split()
WORDS = [*PEOPLE, *THINGS, *PLACES, *"went to the took where is . ?".split()]
ASK, SENTENCES = WORDS.index("?"), 8


def story(rng):
    """Sentences, and the questions that they answer: {question: place}."""
    place, holder, text = {}, {}, []
    while len(text) < SENTENCES:
        who, thing = rng.choice(PEOPLE), rng.choice(THINGS)
        if who in place and thing not in holder and rng.random() < 0.5:
            holder[thing] = who
            text.append(f"{who} took the {thing} .")
        else:
            place[who] = rng.choice([p for p in PLACES if p != place.get(who)])
            text.append(f"{who} went to the {place[who]} .")
    answers = {f"where is {who} ?": p for who, p in place.items()}
    return text, answers | {f"where is the {x} ?": place[who] for x, who in holder.items()}


def batches(questions, rng, size=64):
    """Stories, of which each word is a target; or with so many questions, the answers alone."""
    while True:
        rows = []
        for text, answers in (story(rng) for _ in range(size)):
            text += [f"{q} {answers[q]}" for q in rng.permutation(list(answers))[:questions]]
            rows.append(Encoded(np.array([WORDS.index(w) for w in " ".join(text).split()]), 1))
        inputs, targets = pad(rows)
        yield inputs, np.where(inputs == ASK, targets, IGNORE) if questions else targets


def scores(model, rng, size):
    """Of one fact, then of two: how often the model is right, and how often the last place."""
    inputs, targets = next(batches(1, rng, size))
    with no_grad():
        best = model.eval()(inputs).data.argmax(-1)
    asked = inputs == ASK
    right, names = (best == targets)[asked], np.roll(inputs, 1, 1)[asked]
    last = np.array([[i for i in ids if WORDS[i] in PLACES][-1] for ids in inputs])
    for kind in (PEOPLE, THINGS):
        some = np.isin(names, [WORDS.index(name) for name in kind])
        yield right[some].mean(), (last == targets[asked])[some].mean()


def main(seeds=(1,), pretraining=500, steps=2000, width=64, tested=2000, mark=0.8):
    good = True
    for seed in map(int, seeds):
        rng = np.random.default_rng(seed)
        model = GPT(GPTConfig(len(WORDS), 80, 3, 4, width, initializer_range=0.05), rng=rng)
        for n, questions in ((pretraining, 0), (steps, 4)):
            stream = batches(questions, rng)
            fit(model, next_token, stream, steps=n, lr=2e-3, rng=rng, progress=tqdm)
        for facts, (ours, last) in enumerate(scores(model, rng, tested), 1):
            print(f"seed {seed}, facts {facts}: {ours:.1%}, mark {mark:.0%}; last place {last:.1%}")
            good = good and ours >= mark
    return good


if __name__ == "__main__":
    raise SystemExit(not main(sys.argv[1:] or (1, 2, 3)))
