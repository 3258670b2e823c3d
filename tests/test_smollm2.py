"""SmolLM2-135M from its PyPI package: beside transformers, and trained further.

What transformers computes is kept in smollm2_reference.json; pytest --references computes it anew,
which takes a minute or two.
"""

import json
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.gguf import open_gguf
from tinygrad_llm.formats.gguf_llama import load_llama
from tinygrad_llm.formats.gguf_tokenizer import tokenizer_contents
from tinygrad_llm.inference.generate import generate_all
from tinygrad_llm.inference.generation_config import GenerationConfig
from tinygrad_llm.nn.quantized import memory_of
from tinygrad_llm.recipes.costs import block_size
from tinygrad_llm.recipes.import_ import find_weights
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.text import BPETokenizer
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

REFERENCE = json.loads((Path(__file__).parent / "smollm2_reference.json").read_text())
TEXTS, PARIS = REFERENCE["texts"], REFERENCE["paris"]
PROMPTS = np.array([text["prompt"] for text in TEXTS])  # (5, 64)
GREEDY = np.array([text["greedy"] for text in TEXTS])  # (5, 64)
LENGTH = PROMPTS.shape[1]


@pytest.fixture(scope="module")
def path():
    try:
        return find_weights("smollm2")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def model(path):
    with open_gguf(path) as file:
        return load_llama(file)


@pytest.fixture(scope="module")
def logits(model):
    """Of the prompts with transformers' continuations behind them, (5, 127, V)."""
    with no_grad():
        return model(np.concatenate([PROMPTS, GREEDY], axis=1)[:, :-1]).data


def test_it_is_smollm2(model):
    assert model.num_parameters() == 134_515_008
    assert model.config.tie_word_embeddings and model.config.rope_theta == 100_000


def test_logits_are_those_of_transformers(logits):
    """At each of 5 x 64 places the largest logit, their mean, and which token is the best."""
    read = logits[:, :LENGTH]
    for i, text in enumerate(TEXTS):
        assert read[i].argmax(-1).tolist() == text["best"]
        np.testing.assert_allclose(read[i].max(-1), text["logits"], atol=1e-3)
        np.testing.assert_allclose(read[i].mean(-1, dtype=np.float64), text["means"], atol=1e-3)


def test_the_greedy_continuation_of_64_tokens_is_that_of_transformers(logits):
    """Each of its tokens is the best one after all that stand before it."""
    np.testing.assert_array_equal(logits[:, LENGTH - 1 :].argmax(-1), GREEDY)


def test_generation_with_the_cache_goes_on_with_paris(model):
    config = GenerationConfig(max_new_tokens=12, temperature=0)
    assert generate_all(model, [PARIS["prompt"]], config)[0] == PARIS["greedy"][:12]


def test_blocks_as_they_are_stored_go_on_with_the_same_tokens(path, logits):
    """The logits differ by rounding alone from those of the widened weights."""
    with open_gguf(path) as file:
        model = load_llama(file, keep_blocks=True)
    assert memory_of(model) < 97e6
    with no_grad():
        found = model(PROMPTS[:2]).data
    np.testing.assert_allclose(found, logits[:2, :LENGTH], atol=2e-3)
    config = GenerationConfig(max_new_tokens=24, temperature=0)
    assert generate_all(model, PROMPTS.tolist(), config) == GREEDY[:, :24].tolist()


def test_the_capital_of_france(path):
    with open_gguf(path) as file:
        tokenizer = BPETokenizer(tokenizer_contents(file.metadata))
    assert tokenizer.encode("The capital of France is") == PARIS["prompt"]
    assert tokenizer.decode(PARIS["greedy"]).startswith(" Paris")


def test_five_steps_on_the_last_two_blocks_lower_the_loss_with_memory_as_forecast(path):
    """Forecast: weight, gradient and two moments of what is trained; behind the first trained
    block, what each saves; and the logits, which become their gradient in place. Kernels use memory
    again that tracemalloc did not see them get; a new thread has none.
    """
    with open_gguf(path) as file:
        model = load_llama(file).requires_grad_(False).train()
    for block in model.layers[-2:]:
        block.requires_grad_()
    trained = [p for p in model.parameters() if p.requires_grad]
    frozen = model.embed_tokens.weight.data.copy()
    inputs, targets = PROMPTS[:, :-1], PROMPTS[:, 1:]
    next_token(model, inputs, targets).total.backward()  # compiles
    model.zero_grad()

    def train():
        optimizer, rng = AdamW(trained), np.random.default_rng(0)
        batch = [(inputs, targets)]
        for _ in range(5):
            yield train_step(model, next_token, optimizer, batch, lr=1e-4, clip=1.0, rng=rng)

    tracemalloc.start()
    with ThreadPoolExecutor(1) as fresh:
        losses, _, (tokens, *_) = zip(*fresh.submit(list, train()).result(), strict=True)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert all(later < earlier for earlier, later in zip(losses, losses[1:], strict=False))
    np.testing.assert_array_equal(model.embed_tokens.weight.data, frozen)
    config = model.config
    saved = 2 * (9 * config.hidden_size + 4 * config.intermediate_size)
    logits = block_size(tokens, config.vocab_size)
    forecast = 4 * (4 * sum(p.size for p in trained) + tokens * saved + logits)
    assert 0.9 * forecast < peak < 1.1 * forecast


def test_beside_transformers_itself(model, path, pytestconfig):
    if not pytestconfig.getoption("--references"):
        pytest.skip("takes minutes: pytest --references, with pip install accelerate gguf")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    import torch

    theirs = transformers.AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    prompts = torch.tensor(PROMPTS)
    with torch.no_grad(), no_grad():
        expected = theirs(prompts).logits.numpy()
        found = model(PROMPTS).data
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)
    theirs_greedy = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=64,
        min_new_tokens=64,
        do_sample=False,
        eos_token_id=None,
        pad_token_id=0,
    ).numpy()[:, LENGTH:]
    np.testing.assert_array_equal(theirs_greedy, GREEDY)
    config = GenerationConfig(max_new_tokens=64, temperature=0)
    assert generate_all(model, PROMPTS.tolist(), config) == GREEDY.tolist()
