"""Answers to instructions, greedy and a batch at a time, and two models' answers side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tinygrad_llm.files import write_atomic
from tinygrad_llm.finetuning.instructions import Record, Template, encode_prompt
from tinygrad_llm.finetuning.scoring import (
    AnswerScore,
    exact_match,
    score_answers,
    token_f1,
)
from tinygrad_llm.inference.generate import generate_all
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.nn import Module
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.text import Tokenizer

BATCH = 32  # prompts that are answered together, of like lengths


def answer(
    model: Module,
    tokenizer: Tokenizer,
    template: Template,
    records: Sequence[Record],
    *,
    answer_tokens: int,
    reporter: Reporter,
) -> list[str]:
    """The model's best answer to each record's instruction, of at most so many tokens.

    A prompt that leaves the answer no room in the model's context is noted: its beginning is lost.
    """
    end = tokenizer.special_tokens[template.end]
    config = GenerationConfig(temperature=0.0, max_new_tokens=answer_tokens, eos_token_id=end)
    prompts = [encode_prompt(tokenizer, template, record) for record in records]
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    room = max(0, model.config.n_positions - answer_tokens)
    if long := sum(len(prompt) > room for prompt in prompts):
        reporter.note(
            f"{long:,} of {len(prompts):,} instructions have more than {room:,} tokens, which is "
            "what the context holds beside an answer; the model may not see their beginning"
        )
    texts = [""] * len(prompts)
    with reporter.progress("answering", len(prompts), "answers") as done:
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            found = generate_all(model, [prompts[i] for i in batch], config)
            for i, ids in zip(batch, found, strict=True):
                texts[i] = tokenizer.decode(ids[:-1] if ids[-1] == end else ids)
            done(len(batch))
    return texts


def write_answers(
    path: Path, records: Sequence[Record], answers: Mapping[str, Sequence[str]]
) -> dict[str, AnswerScore]:
    """Write each record with every model's answer to it and their scores; returns the means.

    answers: by the name of the model. The means stand first in the file.
    """
    wanted = [record["output"] for record in records]
    scores = {name: score_answers(texts, wanted) for name, texts in answers.items()}
    rows = []
    for i, record in enumerate(records):
        row: dict[str, object] = dict(record)
        for name, texts in answers.items():
            row[name] = {
                "answer": texts[i],
                "exact_match": exact_match(texts[i], wanted[i]),
                "f1": round(token_f1(texts[i], wanted[i]), 4),
            }
        rows.append(row)
    means = {name: score._asdict() for name, score in scores.items()}
    document = {"means": means, "answers": rows}
    write_atomic(path, json.dumps(document, indent=2, ensure_ascii=False) + "\n")
    return scores
