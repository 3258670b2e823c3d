"""A corpus of any size (PROOFS row 5): 200 MB streamed to shards and trained from; memory beside
that for 2 MB.

Run: python examples/06_large_corpus.py [megabytes]
"""

import multiprocessing
import sys
import tempfile
from pathlib import Path

from tinygrad_llm.data.sources import embedded_corpus
from tinygrad_llm.recipes.forecast import most_memory
from tinygrad_llm.recipes.pretrain import pretrain
from tinygrad_llm.recipes.settings import preset

LIMIT = 50  # megabytes


def write_corpus(path, megabytes):
    """The manual again and again, each time with a number, so that no two parts are equal."""
    text, number = embedded_corpus(), 0
    with open(path, "w", encoding="utf-8") as file:
        while file.tell() < megabytes * 1e6:
            file.write(f"Copy {number}\n{text}\n")
            number += 1


def peak_megabytes(folder, megabytes, steps, queue):
    """Tokenize and train in this process, and report the most memory it ever held."""
    corpus = Path(folder) / f"corpus-{megabytes}.txt"
    write_corpus(corpus, megabytes)
    settings = preset("char-cpu").updated(
        {
            "data": [str(corpus)],
            "tokenizer": "bytes",
            "steps": steps,
            "eval_every": steps,
            "validation": 1e-4,
            "sample_every": 0,
        }
    )
    pretrain(settings, Path(folder) / f"run-{megabytes}")
    queue.put(most_memory() / 1e6)


def main(megabytes=200, small=2, steps=20):
    spawn = multiprocessing.get_context("spawn")
    peaks = {}
    for size in (small, megabytes):
        with tempfile.TemporaryDirectory() as folder:
            queue = spawn.Queue()
            process = spawn.Process(target=peak_megabytes, args=(folder, size, steps, queue))
            process.start()
            peaks[size] = queue.get()
            process.join()
        print(f"{size:>4} MB of text: {peaks[size]:.0f} MB of memory at the peak")
    growth = peaks[megabytes] - peaks[small]
    print(f"growth {growth:.0f} MB (limit {LIMIT})")
    return growth < LIMIT


if __name__ == "__main__":
    raise SystemExit(not main(*map(int, sys.argv[1:2])))
