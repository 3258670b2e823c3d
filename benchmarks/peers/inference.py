"""Models that write, each contender in a process of its own: ours, llama.cpp, transformers.

All read the same ids, one text: `logits` to be compared, then `prefill` and `decode` in seconds.
"""

from __future__ import annotations

import time

import numpy as np

from benchmarks import machine

PROMPT = 8  # tokens before those that are decoded


class Writer:
    """What is asked of a contender; a subclass loads the model and reads tokens."""

    vocabulary = 0

    def begin(self) -> None:
        """Forget the text so far."""
        raise NotImplementedError

    def read(self, ids: list[int]) -> np.ndarray:
        """Read on; the logits of the token behind the last one."""
        raise NotImplementedError

    def ids(self, count: int) -> list[int]:
        return np.random.default_rng(3).integers(self.vocabulary, size=count).tolist()

    def logits(self, count: int) -> list[float]:
        """After so many tokens, the last one read alone."""
        *most, last = self.ids(count)
        self.begin()
        self.read(most)
        return np.asarray(self.read([last]), np.float64).ravel().tolist()

    def prefill(self, count: int) -> float:
        self.begin()
        start = time.perf_counter()
        self.read(self.ids(count))
        return time.perf_counter() - start

    def decode(self, count: int) -> float:
        """Seconds of `count` tokens, read one by one behind a short prompt."""
        ids = self.ids(PROMPT + count)
        self.begin()
        self.read(ids[:PROMPT])
        self.read(ids[:1])  # what a first step prepares is not a token's work
        start = time.perf_counter()
        for token in ids[PROMPT:]:
            self.read([token])
        return time.perf_counter() - start

    def memory(self) -> float:
        return machine.peak_memory()


class Ours(Writer):
    """A folder or a GGUF file; bits: quantized to so many after it was read."""

    def __init__(self, path: str, bits: int | None = None):
        from tinygrad_llm.formats.folder import load_model
        from tinygrad_llm.formats.gguf import open_gguf
        from tinygrad_llm.formats.gguf_llama import load_llama
        from tinygrad_llm.nn.quantized import quantize
        from tinygrad_llm.recipes.quantize import KINDS

        if path.endswith(".gguf"):
            with open_gguf(path) as file:
                self.model = load_llama(file, keep_blocks=True)
        else:
            self.model = load_model(path)
        if bits is not None:
            quantize(self.model, KINDS[bits])
        self.vocabulary = self.model.config.vocab_size

    def begin(self):
        from tinygrad_llm.inference.decoder import Decoder

        self.decoder = Decoder(self.model)

    def read(self, ids):
        return self.decoder.read(np.array([ids]))

    def cache(self, count: int) -> list[int]:
        """Bytes of the cache of so many tokens: computed, and of its arrays."""
        config = self.model.config
        self.begin()
        self.read(self.ids(count))
        heads = getattr(config, "num_key_value_heads", None) or config.n_head
        every = getattr(config, "num_attention_heads", None) or config.n_head
        width = getattr(config, "hidden_size", None) or config.n_embd
        computed = 2 * config.n_layer * heads * (width // every) * count * 4
        return [computed, self.decoder.cache_bytes()]


class LlamaCpp(Writer):
    def __init__(self, path: str):
        from llama_cpp import Llama

        threads = machine.cores()
        self.model = Llama(
            path, n_ctx=1024, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False
        )
        self.vocabulary = self.model.n_vocab()

    def begin(self):
        self.model.reset()

    def read(self, ids):
        from llama_cpp import llama_get_logits_ith

        self.model.eval(ids)
        logits = llama_get_logits_ith(self.model.ctx, -1)
        return np.ctypeslib.as_array(logits, (self.vocabulary,)).copy()


class Transformers(Writer):
    def __init__(self, path: str):
        import torch
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(machine.cores())
        self.torch = torch
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
        self.vocabulary = self.model.config.vocab_size

    def begin(self):
        self.past = None

    def read(self, ids):
        with self.torch.inference_mode():
            out = self.model(
                self.torch.tensor([ids]),
                past_key_values=self.past,
                use_cache=True,
                logits_to_keep=1,
            )
        self.past = out.past_key_values
        return out.logits[0, -1].numpy()
