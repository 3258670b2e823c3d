"""English to German on Multi30k (Elliott et al. 2016), 29,000 captions of pictures: the transformer
of 2017, as small as Wu et al. 2021 found best for them, within an hour on two cores.

Run: python examples/11c_multi30k.py DATA [OUT [SEED]]     (DATA holds train, val and
test_2016_flickr, each .en.gz and .de.gz; pip install sacrebleu)
"""

import sys
import time
from pathlib import Path

from tinygrad_llm.cli.terminal import TerminalReporter
from tinygrad_llm.data.pairs import read_pairs
from tinygrad_llm.recipes.train_translation import train_translation
from tinygrad_llm.recipes.translate import translate_lines
from tinygrad_llm.recipes.translation_settings import TranslationSettings

MARK, LIMIT = 35.0, 3600  # BLEU; seconds, of everything
PARTS = {
    "source": "train.en.gz",
    "target": "train.de.gz",
    "val_source": "val.en.gz",
    "val_target": "val.de.gz",
}


def main(data, out="runs/multi30k", seed=1, mark=MARK, reporter=None, **changes):
    from sacrebleu import BLEU

    start, data, reporter = time.perf_counter(), Path(data), reporter or TerminalReporter()
    files = {name: str(data / part) for name, part in PARTS.items()}
    settings = TranslationSettings().updated({**files, "seed": int(seed), **changes})
    train_translation(settings, out, resume=True, reporter=reporter)
    test = read_pairs(*(data / f"test_2016_flickr.{side}.gz" for side in ("en", "de")))
    texts, references = zip(*test)
    scores = {}
    for beams in (1, 5):
        found = translate_lines(out, texts, num_beams=beams, reporter=reporter)
        for lower in (False, True):
            metric = BLEU(lowercase=lower)
            scores[beams, lower] = metric.corpus_score(found, [references]).score
            print(f"{beams} beams: BLEU {scores[beams, lower]:.2f}, {metric.get_signature()}")
    for text, translation in list(zip(texts, found))[:3]:
        print(f"{text}\n  {translation}")
    seconds = time.perf_counter() - start
    print(f"BLEU {scores[5, False]:.2f} (mark {mark}) in {seconds / 60:.1f} minutes (at most 60)")
    return scores[5, False] >= mark and seconds <= LIMIT


if __name__ == "__main__":
    if len(sys.argv) < 2:
        raise SystemExit(__doc__)
    raise SystemExit(not main(*sys.argv[1:]))
