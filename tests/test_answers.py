"""Answers of a batch are those that each prompt gets alone, and stand beside the wanted ones."""

import json

import numpy as np

from tests.test_finetune_instruct import CONFIG, ENDS
from tinygrad_llm.finetuning.instructions import TEMPLATES
from tinygrad_llm.models import GPT
from tinygrad_llm.recipes.answers import answer, write_answers
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import ByteTokenizer

RECORDS = [{"instruction": "x" * n, "input": "", "output": "y"} for n in (3, 17, 1, 8) * 9]


def test_a_batch_answers_as_each_prompt_alone():
    model = GPT(CONFIG, rng=np.random.default_rng(0)).eval()
    tokenizer = ByteTokenizer(special_tokens=ENDS)

    def answers(records):
        return answer(
            model,
            tokenizer,
            TEMPLATES["chatml"],
            records,
            answer_tokens=6,
            reporter=Reporter(),
        )

    together = answers(RECORDS)
    assert together == [answers([record])[0] for record in RECORDS]
    assert len(set(together)) > 1 and together[:4] == together[4:8]


def test_an_instruction_that_leaves_no_room_for_an_answer_is_noted():
    class Notes(Reporter):
        heard = []

        def note(self, text):
            self.heard.append(text)

    for tokens in (6, 70):
        answer(
            GPT(CONFIG, rng=np.random.default_rng(0)).eval(),
            ByteTokenizer(special_tokens=ENDS),
            TEMPLATES["chatml"],
            RECORDS[:4],
            answer_tokens=tokens,
            reporter=Notes(),
        )
    assert len(Notes.heard) == 1
    assert Notes.heard[0].startswith("2 of 4 instructions have more than 26 tokens")


def test_the_file(tmp_path):
    sets = {"before": ["n", "y"], "after": ["Y.", "é y"]}
    scores = write_answers(tmp_path / "answers.json", RECORDS[:2], sets)
    assert scores["after"] == (0.5, (1 + 2 / 3) / 2)
    text = (tmp_path / "answers.json").read_text()
    rows = json.loads(text)["answers"]
    assert rows[1]["after"] == {"answer": "é y", "exact_match": False, "f1": 0.6667}
    assert rows[0]["before"]["answer"] == "n" and "é" in text
