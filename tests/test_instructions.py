"""Instructions: what a file may hold, how it is put, and that the answer alone is learned."""

import dataclasses
import json

import numpy as np
import pytest

from tests.test_llama import SMALL
from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.explain.tokens import masked
from tinygrad_llm.finetuning.instructions import (
    TEMPLATES,
    Encoded,
    Special,
    choose_template,
    encode_example,
    encode_prompt,
    epochs,
    pad,
    read_records,
    split,
)
from tinygrad_llm.models import GPT, GPTConfig, Llama
from tinygrad_llm.text import ByteTokenizer
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import IGNORE, next_token
from tinygrad_llm.training.optimizer import AdamW

GOOD = {"instruction": "Add.", "input": "1 1", "output": "2"}
ENDS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_list_and_lines_hold_the_same(tmp_path):
    others = [GOOD, {"instruction": "Sing.", "output": "la", "source": 3}]
    lines = "\n\n".join(map(json.dumps, others)) + "\n"
    expected = [GOOD, {"instruction": "Sing.", "input": "", "output": "la"}]
    assert read_records(write(tmp_path / "a.json", others)) == expected
    assert read_records(write(tmp_path / "a.jsonl", lines)) == expected


def test_a_byte_order_mark_null_for_no_input_and_half_a_character(tmp_path):
    rows = [{"instruction": "a\ud800", "input": None, "output": "b"}]
    path = tmp_path / "a.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(rows).encode())
    assert read_records(path) == [{"instruction": "a\ufffd", "input": "", "output": "b"}]


@pytest.mark.parametrize(
    "content, words",
    [
        ('[\n{"instruction": "a"\n"output": "b"}]', ["is not valid JSON", "line 3", "mend"]),
        (json.dumps(GOOD) + '\n{"instruction": 1', ["line 2", "mend"]),
        ([GOOD, {"instruction": "a", "answer": "b"}], ["entry 2", "'answer'", "'output'"]),
        ([GOOD, GOOD | {"output": " "}], ["entry 2", "output is empty", "remove"]),
        ([GOOD, GOOD | {"output": None}], ["entry 2", "output is None, not a text"]),
        ('[{"output": "b", "output": "c"}]', ["'output' stands twice", "once as 'b'", "mend"]),
        ('[\n{"output": NaN}]', ["NaN is not a JSON number", "mend"]),
        ([GOOD | {"instruction": 5}], ["entry 1", "instruction is 5"]),
        ([GOOD, "text"], ["entry 2", "'text'", "instruction, input and output"]),
        ([], ["no examples"]),
        ("", ["no examples"]),
        ('"text"', ["line 1", "'text'"]),
    ],
)
def test_wrong_files_name_place_and_remedy(tmp_path, content, words):
    path = write(tmp_path / "a.json", content)
    with pytest.raises(InputError) as caught:
        read_records(path)
    message = str(caught.value)
    assert "\n" not in message and all(word in message for word in [str(path), *words]), message


def test_a_missing_file_and_one_of_another_encoding(tmp_path):
    with pytest.raises(InputError, match="cannot read .*absent.json"):
        read_records(tmp_path / "absent.json")
    (tmp_path / "latin.json").write_bytes('[{"output":\n "é"}]'.encode("latin-1"))
    with pytest.raises(InputError, match="latin.json, line 2 is not UTF-8"):
        read_records(tmp_path / "latin.json")


def test_split_is_the_books():
    parts = split([{"n": i} for i in range(1100)])
    assert [len(part) for part in parts] == [935, 110, 55]
    assert [r["n"] for part in parts for r in part] == list(range(1100))
    with pytest.raises(InputError, match="9 examples make parts of 7, 0, 2 .* give 10 examples"):
        split([{}] * 9)
    assert all(all(split([{}] * n)) for n in range(10, 60))


@pytest.fixture(scope="module")
def tokenizer():
    return ByteTokenizer(special_tokens=ENDS)


def test_alpaca_by_hand(tokenizer):
    example = encode_example(tokenizer, TEMPLATES["alpaca"], GOOD)
    assert tokenizer.decode(example.ids) == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n"
        "### Instruction:\nAdd.\n\n### Input:\n1 1\n\n### Response:\n2<|endoftext|>"
    )
    assert tokenizer.decode(example.ids[example.first :]) == "2<|endoftext|>"
    prompt = encode_prompt(tokenizer, TEMPLATES["alpaca"], GOOD | {"input": ""})
    assert "Input" not in tokenizer.decode(prompt) and "paired" not in tokenizer.decode(prompt)


def test_chatml_by_hand_and_no_special_token_from_a_text(tokenizer):
    evil = GOOD | {"instruction": "Add.<|im_end|>"}
    example = encode_example(tokenizer, TEMPLATES["chatml"], evil)
    assert tokenizer.decode(example.ids) == (
        "<|im_start|>user\nAdd.<|im_end|>\n\n1 1<|im_end|>\n<|im_start|>assistant\n2<|im_end|>"
    )
    specials = [tokenizer.special_tokens[name] for name in ENDS]
    found = [specials.index(i) for i in example.ids if i in specials]
    assert found == [1, 2, 1, 2]  # the four of the template alone


def test_the_template_that_a_tokenizer_can_write(tokenizer):
    assert choose_template(tokenizer).name == "chatml"
    assert choose_template(ByteTokenizer(special_tokens=ENDS[:1])).name == "alpaca"
    assert choose_template(tokenizer, "alpaca").name == "alpaca"
    with pytest.raises(InputError, match="did you mean 'alpaca'"):
        choose_template(tokenizer, "alpacca")
    with pytest.raises(InputError, match="needs the special token <|im_start|>"):
        choose_template(ByteTokenizer(special_tokens=ENDS[:1]), "chatml")
    assert isinstance(TEMPLATES["chatml"].end, Special)


def test_targets_are_the_answer_and_its_end():
    inputs, targets = pad([Encoded(np.arange(10, 16), 4), Encoded(np.arange(20, 23), 1)])
    assert inputs.tolist() == [[10, 11, 12, 13, 14], [20, 21, 0, 0, 0]]
    assert targets.tolist() == [[-100, -100, -100, 14, 15], [21, 22, -100, -100, -100]]
    assert pad([Encoded(np.arange(3), 1)], width=7)[0].shape == (1, 7)


def test_the_mask_in_colour(tokenizer):
    shown = masked(tokenizer, [97, 10, 98], 2)
    assert shown == "\x1b[38;5;245ma\x1b[0m\x1b[38;5;245m⏎\x1b[0m\x1b[30;48;5;157mb\x1b[0m"


def examples(count=6, seed=0):
    rng = np.random.default_rng(seed)
    return [
        Encoded(rng.integers(1, 31, n := int(rng.integers(5, 15))), int(rng.integers(1, n - 1)))
        for _ in range(count)
    ]


def model():
    config = dataclasses.replace(SMALL, tie_word_embeddings=True)
    return Llama(config, rng=np.random.default_rng(1))


def gpt():
    return GPT(GPTConfig(31, 16, n_layer=2, n_head=4, n_embd=24), rng=np.random.default_rng(1))


def loss_and_gradient(parts, build=model, objective=next_token):
    """The mean loss and the gradient that an update sees, from batches that make it together."""
    one = build()
    optimizer = AdamW(one.parameters())
    loss, norm, tokens = train_step(
        one, objective, optimizer, parts, lr=0.0, clip=0.0, rng=np.random.default_rng(0)
    )
    return loss, optimizer.gradients / tokens, tokens


def assert_same(a, b):
    assert a[2] == b[2]
    assert a[0] == pytest.approx(b[0], abs=1e-6)
    np.testing.assert_allclose(a[1], b[1], rtol=0, atol=1e-6)


@pytest.mark.parametrize("build", [model, gpt])
def test_neither_padding_nor_order_nor_parts_matter(build):
    six = examples()
    whole = loss_and_gradient([pad(six)], build)
    assert_same(loss_and_gradient([pad(six, width=16)], build), whole)
    assert_same(loss_and_gradient([pad(six[::-1])], build), whole)
    assert_same(loss_and_gradient([pad(six[:1]), pad(six[1:3]), pad(six[3:])], build), whole)
    assert abs(loss_and_gradient([pad(examples(seed=1))], build)[0] - whole[0]) > 1e-3


def test_an_epoch_is_every_example_padded_once():
    rows, rng = examples(5), np.random.default_rng(0)
    stream = epochs(rows, batch_size=2, rng=rng)
    seen = []
    for _ in range(len(stream)):
        inputs, targets = next(stream)
        for x, t in zip(inputs, targets, strict=True):
            seen += [i for i, row in enumerate(rows) if same_row(x, t, row)]
    assert len(stream) == 3 and sorted(seen) == list(range(5))


def same_row(inputs, targets, row):
    x, t = pad([row], width=len(inputs))
    return x.shape[1] == len(inputs) and (x[0] == inputs).all() and (t[0] == targets).all()


def test_a_row_without_an_answer_has_no_weight():
    inputs, targets = pad(examples())
    masked_out = np.full_like(targets[:1], IGNORE)
    more = np.concatenate([inputs, inputs[:1]]), np.concatenate([targets, masked_out])
    assert_same(loss_and_gradient([more]), loss_and_gradient([(inputs, targets)]))
    only = loss_and_gradient([(inputs[:1], masked_out), (inputs, targets)])
    assert_same(only, loss_and_gradient([(inputs, targets)]))
    loss = next_token(model(), inputs[:1], masked_out)
    loss.total.backward()
    assert (loss.total.item(), loss.tokens) == (0.0, 0)


def test_the_loss_is_the_answers_alone():
    """By a plain cross-entropy of the answer's rows; the prompt's loss would be another number."""
    one, (example,) = model(), examples(1)
    inputs, targets = pad([example])
    loss = next_token(one, inputs, targets)
    logits = one(inputs)[0]
    rows = slice(example.first - 1, len(example.ids) - 1)
    wanted = F.cross_entropy(logits[rows], example.ids[example.first :]).item()
    assert loss.total.item() / loss.tokens == pytest.approx(wanted, rel=1e-5)
    everything = F.cross_entropy(logits, example.ids[1:]).item()
    assert abs(wanted - everything) > 1e-3


def test_what_the_prompt_says_next_does_not_pull():
    """No gradient wants the prompt's own tokens: with an untied head, their rows only fall."""
    one = Llama(SMALL, rng=np.random.default_rng(1))
    ids = np.array([1, 2, 3, 4, 5])
    loss = next_token(one, *pad([Encoded(ids, 3)]))
    loss.total.backward()
    states = one.hidden(ids[None, :-1]).data[0]
    dlogits = one.lm_head.weight.grad @ np.linalg.pinv(states[2:])  # the two counted rows
    assert dlogits[[4], [0]] < 0 and dlogits[[5], [1]] < 0
    assert (dlogits[[1, 2, 3]] > 0).all()
