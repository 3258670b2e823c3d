"""Generation: with and without the cache, alone and in a batch, drawn and greedy, ids and text."""

import numpy as np
import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.formats.folder import save_model
from tinygrad_llm.inference.beam import beam_search
from tinygrad_llm.inference.generate import (
    NOTHING,
    GenerationConfig,
    complete,
    generate,
    generate_all,
)
from tinygrad_llm.models.gpt import GPT, GPTConfig
from tinygrad_llm.nn import Module
from tinygrad_llm.tensor import Tensor
from tinygrad_llm.text import ByteTokenizer
from tinygrad_llm.twins import kernels, reference

GREEDY = GenerationConfig(temperature=0, max_new_tokens=30)
PROMPTS = [[3, 1, 4], [1, 5], [9, 2, 6, 5, 3, 5, 8], [9], [7, 9, 3]]


def model_of(seed=0, **changes):
    """A model whose texts do not repeat themselves at once: positions weigh most."""
    sizes = {"vocab_size": 60, "n_positions": 32, "n_layer": 2, "n_head": 4, "n_embd": 32}
    rng = np.random.default_rng(seed)
    model = GPT(GPTConfig(**sizes | {"tie_word_embeddings": False} | changes), rng=rng).eval()
    for parameter in model.parameters():
        parameter.copy_(rng.standard_normal(parameter.shape, dtype=np.float32) * 0.4)
    model.wpe.weight.copy_(model.wpe.weight.data * 4)
    return model


class Scripted(Module):
    """A model that writes the given tokens after a prompt of one token."""

    def __init__(self, tokens, vocab_size=300):
        self.config = GPTConfig(vocab_size=vocab_size, n_positions=1024, n_layer=1)
        self.tokens, self.read = tokens, 0

    def hidden(self, ids, cache):
        self.read += ids.shape[1]
        return Tensor(np.eye(self.config.vocab_size)[[[self.tokens[self.read - 1]]]] * 50)

    def lm_head(self, x):
        return x


@pytest.mark.parametrize("twin", [reference, kernels])
@pytest.mark.parametrize("changes", [{}, {"n_positions": 260, "n_layer": 1, "bias": False}])
def test_greedy_text_is_the_same_with_and_without_the_cache(twin, changes):
    model, config = model_of(**changes), GenerationConfig(temperature=0, max_new_tokens=256)
    with twin():
        cached, anew = (
            [step.item() for step in generate(model, [[1, 2]], config, use_cache=use)]
            for use in (True, False)
        )
    assert cached == anew and len(cached) == 256 and len(set(cached)) > 5


def test_greedy_takes_the_best_token_of_the_whole_forward_pass():
    model, ids = model_of(), [1, 2, 3]
    for step in generate(model, [[1, 2, 3]], GenerationConfig(temperature=0, max_new_tokens=29)):
        ids.append(int(model(np.array([ids])).data[0, -1].argmax()))
        assert step.tolist() == ids[-1:]


@pytest.mark.parametrize("penalty", [1.0, 1.3])
def test_greedy_text_is_that_of_transformers(penalty, tmp_path):
    torch = pytest.importorskip("torch", reason="pip install torch")
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    save_model(tmp_path, model := model_of(n_positions=128))
    peer = transformers.GPT2LMHeadModel.from_pretrained(tmp_path)
    prompt = torch.tensor([[1, 2, 3]])
    theirs = peer.generate(
        prompt,
        attention_mask=torch.ones_like(prompt),
        max_new_tokens=100,
        do_sample=False,
        repetition_penalty=penalty,
        pad_token_id=0,
    )
    config = GenerationConfig(temperature=0, max_new_tokens=100, repetition_penalty=penalty)
    assert generate_all(model, [[1, 2, 3]], config) == theirs[:, 3:].tolist()


@pytest.mark.parametrize(
    "config",
    [
        GenerationConfig(temperature=0, max_new_tokens=40),
        GenerationConfig(temperature=0, max_new_tokens=40, eos_token_id=tuple(range(0, 60, 5))),
        GenerationConfig(
            max_new_tokens=40,
            top_k=9,
            top_p=0.9,
            repetition_penalty=1.2,
            eos_token_id=tuple(range(0, 60, 5)),
        ),
    ],
)
def test_a_batch_gives_each_row_the_tokens_it_gets_alone(config):
    model = model_of()
    together = generate_all(model, PROMPTS, config, rng=np.random.default_rng(5))
    alone = [
        generate_all(model, [prompt], config, rng=rng)[0]
        for prompt, rng in zip(PROMPTS, np.random.default_rng(5).spawn(5), strict=True)
    ]
    assert together == alone
    lengths = {len(text) for text in together}
    assert lengths == {40} if not config.eos_ids else len(lengths) > 1


def test_a_row_gives_nothing_before_its_prompt_is_read_and_after_its_text_has_ended():
    config = GenerationConfig(temperature=0, max_new_tokens=4)
    steps = list(generate(model_of(), [[1, 2, 3], [4]], config))
    assert np.array([step == NOTHING for step in steps]).T.astype(int).tolist() == [
        [1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 1],
    ]


def test_a_text_ends_with_its_end_token():
    script = [5, 6, 7, 8, 9]
    for ends, expected in [(7, [5, 6, 7]), ((9, 6), [5, 6]), (None, script), (99, script)]:
        config = GenerationConfig(temperature=0, max_new_tokens=5, eos_token_id=ends)
        assert generate_all(Scripted(script), [[1]], config) == [expected]


def test_the_seed_decides_and_nothing_else_does():
    model, config = model_of(dropout=0.4).train(), GenerationConfig(max_new_tokens=30)
    first, again, other = (
        generate_all(model, [[1]], config, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again != other


@pytest.mark.parametrize("settings", [{"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}])
def test_the_narrowest_draw_is_greedy(settings):
    model, config = model_of(), GenerationConfig(max_new_tokens=30, **settings)
    drawn = generate_all(model, PROMPTS, config, rng=np.random.default_rng(0))
    assert drawn == generate_all(model, PROMPTS, GREEDY)


def test_draws_follow_the_models_probabilities():
    model, config = model_of(vocab_size=5), GenerationConfig(max_new_tokens=1, temperature=2.0)
    drawn = generate_all(model, [[1, 2]] * 4000, config, rng=np.random.default_rng(0))
    logits = model(np.array([[1, 2]])).data[0, -1] / 2
    expected = np.exp(logits) / np.exp(logits).sum()
    counts = np.bincount(np.ravel(drawn), minlength=5)
    np.testing.assert_allclose(counts / 4000, expected, atol=0.03)


def test_between_two_steps_the_caller_is_in_its_own_mode():
    model, x = model_of().train(), Tensor([1.0], requires_grad=True)
    for _ in generate(model, [[1]], GREEDY):
        assert (x * 2).requires_grad and model.training


@pytest.mark.parametrize(
    "prompts, config, rng, message",
    [
        ([[]], GREEDY, None, "empty"),
        ([[1], [60]], GREEDY, None, "token 60"),
        ([[1]], GenerationConfig(), None, "rng"),
        ([[1]], GenerationConfig(num_beams=2), None, "beam_search"),
    ],
)
def test_what_cannot_be_generated_is_an_error_at_once(prompts, config, rng, message):
    with pytest.raises(InputError, match=message):
        generate(model_of(), prompts, config, rng=rng)


def test_no_prompts_are_no_steps():
    assert list(generate(model_of(), [], GREEDY)) == []


def written(text, **settings):
    """The pieces that a model which writes `text` in bytes shows."""
    config = GenerationConfig(temperature=0, max_new_tokens=len(text), **settings)
    return list(complete(Scripted(list(text)), ByteTokenizer(["<|end|>"]), "x", config))


def test_text_is_streamed_in_whole_characters():
    assert written("née".encode()) == ["n", "é", "e"]
    assert "".join(written("née".encode()[:2])) == "n\N{REPLACEMENT CHARACTER}"


def test_text_ends_before_a_stop_string_and_no_part_of_it_is_shown():
    assert "".join(written(b"one\nUser: two", stop_strings=("\nUser:",))) == "one"
    assert "".join(written(b"one\nUse it", stop_strings=("\nUser:", "Q"))) == "one\nUse it"


def test_the_end_token_is_not_shown():
    assert "".join(written([*b"one", 256, *b"two"], eos_token_id=256)) == "one"


def test_beams_write_text_too():
    model, tokenizer = model_of(vocab_size=256), ByteTokenizer()
    config = GenerationConfig(num_beams=3, max_new_tokens=10)
    found = beam_search(model, tokenizer.encode("ab"), config)
    assert "".join(complete(model, tokenizer, "ab", config)) == tokenizer.decode(found.ids)


def test_an_empty_prompt_begins_with_the_end_token_or_is_an_error():
    model, tokenizer = model_of(vocab_size=257), ByteTokenizer(["<|end|>"])
    config = GenerationConfig(temperature=0, max_new_tokens=5, eos_token_id=256)
    expected = generate_all(model, [[256]], config)[0]
    assert "".join(complete(model, tokenizer, "", config)) == tokenizer.decode(
        token for token in expected if token != 256
    )
    with pytest.raises(InputError, match="prompt is empty"):
        complete(model, tokenizer, "", GREEDY)
