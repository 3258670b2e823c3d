"""A conversation in ChatML, the form in which SmolLM2 and many other chat models read one.

A message is <|im_start|>, the role, a new line, the text, <|im_end|> and a new line. It is written
here: the template that a model brings is a program, and is never run. No text of a message yields a
special id.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.decoder import Decoder, check_vocabulary
from tinygrad_llm.inference.generate import choose, pieces
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.inference.stop import until
from tinygrad_llm.models.gpt import GPT
from tinygrad_llm.text import Tokenizer

START, END = "<|im_start|>", "<|im_end|>"


def opening(tokenizer: Tokenizer, role: str, text: str = "") -> list[int]:
    """The ids of a message that has not ended; with no text, the model goes on with its own."""
    special = tokenizer.special_tokens
    if START not in special or END not in special:
        raise InputError(
            f"the tokenizer has no {START} and {END}, so its model was not taught to converse; "
            "name one that was, such as smollm2, or let this one write: tinygrad-llm generate"
        )
    return [special[START], *tokenizer.encode(f"{role}\n{text}")]


def closing(tokenizer: Tokenizer) -> list[int]:
    """The ids that end a message."""
    return [tokenizer.special_tokens[END], *tokenizer.encode("\n")]


class Chat:
    """What was said so far, and a model that has read it: a message costs only its own tokens.

    config: how a reply is written; num_beams is not looked at. turns: the ids of each message with
    its reply. dropped: how many of the oldest the last message left no room for.
    """

    def __init__(
        self,
        model: GPT,
        tokenizer: Tokenizer,
        config: GenerationConfig,
        *,
        system: str = "",
        rng: np.random.Generator | None = None,
    ):
        if config.temperature > 0 and rng is None:
            raise InputError(f"temperature {config.temperature} draws tokens: give a generator rng")
        self.model, self.tokenizer, self.config, self.rng = model, tokenizer, config, rng
        self._opening = opening(tokenizer, "assistant")
        self._closing = closing(tokenizer)
        self._system = self._message("system", system) if system else []
        check_vocabulary(model, self._system, "the system's text")
        self._ends = {*config.eos_ids, tokenizer.special_tokens[END]}
        self.reset()

    def reset(self) -> None:
        """Forget what was said, but not the system's text."""
        self.turns: list[list[int]] = []
        self.dropped = 0
        self._forget()

    def _forget(self) -> None:
        self._decoder, self._read = Decoder(self.model), 0

    def _message(self, role: str, text: str) -> list[int]:
        return opening(self.tokenizer, role, text) + self._closing

    @property
    def ids(self) -> list[int]:
        """All that the model knows of: the system's text, then the turns that are left."""
        return self._system + [token for turn in self.turns for token in turn]

    def say(self, text: str) -> Iterator[str]:
        """The reply to a message, in pieces as they are written.

        Who stops reading them, or is interrupted, may go on with the next message. InputError for
        an empty message, and for one that leaves no room for a reply even where all else is
        forgotten.
        """
        if not text.strip():
            raise InputError("the message is empty; write something to be answered")
        turn = self._message("user", text) + self._opening
        check_vocabulary(self.model, turn, "the message")
        room = self._make_room(turn)
        self.turns.append(turn)
        reply = self._reply(turn, min(room, self.config.max_new_tokens))
        return until(pieces(reply, self.tokenizer, ()), self.config.stop_strings)

    def _make_room(self, turn: list[int]) -> int:
        """Drop the oldest turns until a reply fits, or a quarter of the context is free for it;
        returns how many tokens it may have.
        """
        context = self.model.config.n_positions
        wanted = min(self.config.max_new_tokens, max(1, context // 4))
        alone = context - len(self._system) - len(turn) - len(self._closing)
        if alone < 1:
            raise InputError(
                f"the message takes {len(turn)} tokens and the system's text "
                f"{len(self._system)}, which leaves no room for a reply in the model's context "
                f"of {context}; shorten them"
            )
        first, room = len(self.turns), alone
        while first and room - len(self.turns[first - 1]) >= min(wanted, alone):
            first -= 1
            room -= len(self.turns[first])
        self.dropped = first
        if first:
            del self.turns[:first]
            self._forget()
        return room

    def _reply(self, turn: list[int], limit: int) -> Iterator[int]:
        """The tokens of the reply, each added to the turn, which ends however the reply ends."""
        try:
            for _ in range(limit):
                ids = self.ids
                logits = self._read_on(ids)
                token = choose(logits[0], ids, self.config, self.rng)
                if token in self._ends:
                    break
                turn.append(token)
                yield token
        finally:
            turn += self._closing

    def _read_on(self, ids: list[int]) -> np.ndarray:
        """The scores (1, V) of the token after ids, of which most are read already."""
        try:
            logits = self._decoder.read(np.array([ids[self._read :]]))
        except BaseException:  # Ctrl-C: some layers may have kept these tokens, others not
            self._forget()
            raise
        self._read = len(ids)
        return logits
