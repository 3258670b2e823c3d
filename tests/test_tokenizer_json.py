"""tokenizer.json: round trips, the same ids and text as Hugging Face's tokenizers, and refusals."""

import copy
import random

import pytest

from tests.random_texts import random_texts, shared_file
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import BPETokenizer, ByteTokenizer, CharTokenizer, load_tokenizer
from tinygrad_llm.text.tokenizer_json import from_json, to_json

TEXTS = [*random_texts(150, seed=9), "x <|end|>two words<|end|>", "\0\r\n\t \u3000"]
SPECIAL = ["<|end|>", "two words"]
TOKENIZERS = {
    "gpt2": BPETokenizer.train(TEXTS, 600, special_tokens=SPECIAL),
    "llama3": BPETokenizer.train(TEXTS, 300, special_tokens=SPECIAL, pattern="llama3"),
    "no merges": BPETokenizer.train(TEXTS, 258, special_tokens=SPECIAL),
    "bytes": ByteTokenizer(SPECIAL),
    "characters": CharTokenizer.train([*TEXTS, *SPECIAL], SPECIAL),
    "characters with <unk>": CharTokenizer.train([*TEXTS, *SPECIAL], [*SPECIAL, "<unk>"]),
}


@pytest.fixture(params=TOKENIZERS)
def tokenizer(request):
    return TOKENIZERS[request.param]


@pytest.fixture
def hugging_face():
    return pytest.importorskip("tokenizers", reason="pip install tokenizers")


def test_save_and_load(tokenizer, tmp_path):
    tokenizer.save(tmp_path / "mine.json")
    tokenizer.save(tmp_path)
    for path in (tmp_path / "mine.json", tmp_path, str(tmp_path / "tokenizer.json")):
        for again in (load_tokenizer(path), type(tokenizer).from_file(path)):
            assert type(again) is type(tokenizer)
            assert again.contents == tokenizer.contents
            assert again.fingerprint() == tokenizer.fingerprint()
            assert again.encode_batch(TEXTS, "all") == tokenizer.encode_batch(TEXTS, "all")


def test_tokenizers_gives_the_same_ids_and_text(tokenizer, tmp_path, hugging_face):
    tokenizer.save(tmp_path)
    theirs = hugging_face.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.get_vocab_size() == tokenizer.vocab_size
    for text in TEXTS:
        ids = tokenizer.encode(text, allowed_special="all")
        assert theirs.encode(text).ids == ids
        assert theirs.decode(ids, skip_special_tokens=False) == tokenizer.decode(ids)


def test_what_tokenizers_writes_is_read(tokenizer, tmp_path, hugging_face):
    tokenizer.save(tmp_path)
    theirs = hugging_face.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    theirs.save(str(tmp_path / "hf.json"))
    assert load_tokenizer(tmp_path / "hf.json").contents == tokenizer.contents


def test_unknown_characters_are_errors_there_too(tmp_path, hugging_face):
    CharTokenizer.train(["abc"], ["<unk>"]).save(tmp_path)
    theirs = hugging_face.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    with pytest.raises(Exception, match="UNK"):
        theirs.encode("abz")


def test_a_vocabulary_trained_by_tokenizers(tmp_path, hugging_face):
    """Its special tokens come first, and its merges are those that ours learns."""
    theirs = hugging_face.Tokenizer(hugging_face.models.BPE())
    theirs.pre_tokenizer = hugging_face.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = hugging_face.decoders.ByteLevel()
    theirs.train_from_iterator(
        TEXTS,
        hugging_face.trainers.BpeTrainer(
            vocab_size=500,
            special_tokens=SPECIAL,
            show_progress=False,
            initial_alphabet=hugging_face.pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    theirs.save(str(tmp_path / "hf.json"))
    loaded, ours = load_tokenizer(tmp_path / "hf.json"), BPETokenizer.train(TEXTS, 498)
    assert loaded.special_tokens == {"<|end|>": 0, "two words": 1}
    assert [loaded.token_bytes(i + 2) for i in range(498)] == ours.contents.tokens
    for text in TEXTS:
        assert loaded.encode(text, "all") == theirs.encode(text).ids


def test_gpt2_as_transformers_saves_it(tmp_path):
    transformers = pytest.importorskip("transformers", reason="pip install transformers")
    files = shared_file("gpt2/encoder.json"), shared_file("gpt2/vocab.bpe")
    ours = BPETokenizer.from_gpt2(*files)
    ours.save(tmp_path)
    wrapped = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "tokenizer.json"), eos_token="<|endoftext|>"
    )
    wrapped.save_pretrained(tmp_path / "saved")
    assert load_tokenizer(tmp_path / "saved").fingerprint() == ours.fingerprint()
    assert wrapped.encode(TEXTS[3]) == ours.encode(TEXTS[3])


def test_older_files_write_a_merge_as_one_text_and_add_an_idle_template():
    document = to_json(TOKENIZERS["gpt2"].contents)
    document["model"]["merges"] = [" ".join(pair) for pair in document["model"]["merges"]]
    document["model"]["continuing_subword_prefix"] = ""
    del document["model"]["byte_fallback"], document["pre_tokenizer"]["use_regex"]
    document["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [],
        "special_tokens": {},
    }
    assert from_json(document) == TOKENIZERS["gpt2"].contents


def changed(name, path, value):
    document = copy.deepcopy(to_json(TOKENIZERS[name].contents))
    *parents, last = path
    place = document
    for key in parents:
        place = place[key]
    place[last] = value
    return document


SPLIT = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
BYTE_LEVEL = {
    "type": "ByteLevel",
    "add_prefix_space": False,
    "trim_offsets": True,
    "use_regex": False,
}


@pytest.mark.parametrize(
    "name, path, value, message",
    [
        ("gpt2", ["model", "type"], "Unigram", "model of type 'Unigram'"),
        ("gpt2", ["model", "type"], ["BPE"], "model of type"),
        ("gpt2", ["model"], None, "model of type None"),
        ("gpt2", ["model", "dropout"], 0.1, "dropout = 0.1"),
        ("gpt2", ["model", "ignore_merges"], True, "ignore_merges = True"),
        ("gpt2", ["model", "ignore_merges"], 0, "ignore_merges = 0"),
        ("gpt2", ["model", "end_of_word_suffix"], "</w>", "end_of_word_suffix = '</w>'"),
        ("gpt2", ["model", "new_option"], 1, "new_option = 1"),
        ("gpt2", ["model", "vocab"], [], "vocab is an object"),
        ("gpt2", ["model", "vocab", "!"], 1, "belongs to both"),
        ("gpt2", ["model", "vocab", "!"], 10**9, "has the id 1000000000"),
        ("gpt2", ["model", "vocab", "!"], {}, "has the id {}"),
        ("gpt2", ["model", "vocab", "<|end|>"], 3, "but 3 in vocab"),
        ("gpt2", ["model", "vocab", "a b"], 600, "stands for no byte"),
        ("gpt2", ["model", "merges"], None, "merges is a list"),
        ("gpt2", ["model", "merges", 0], ["a"], "a merge joins two"),
        ("gpt2", ["model", "merges", 0], "a b c", "a merge joins two"),
        ("gpt2", ["model", "merges", 0], 7, "a merge is a list"),
        ("gpt2", ["model", "merges", 0], ["a", "nonsense"], "names 'nonsense'"),
        ("gpt2", ["normalizer"], {"type": "NFC"}, "normalizer = {'type': 'NFC'}"),
        ("gpt2", ["truncation"], {"max_length": 9}, "truncation"),
        ("gpt2", ["version"], "2.0", "version = '2.0'"),
        ("gpt2", ["surprise"], 1, "surprise = 1"),
        ("gpt2", ["decoder"], None, "decoder is None"),
        ("gpt2", ["decoder"], {"type": "Metaspace"}, "decoder: type = 'Metaspace'"),
        ("gpt2", ["pre_tokenizer", "add_prefix_space"], True, "add_prefix_space = True"),
        ("gpt2", ["pre_tokenizer", "use_regex"], False, "merges without a split pattern"),
        ("gpt2", ["pre_tokenizer"], {"type": "Whitespace"}, "type = 'Whitespace'"),
        ("gpt2", ["pre_tokenizer"], {"type": "Sequence"}, "pretokenizers is a list"),
        ("gpt2", ["pre_tokenizer"], {"type": "Sequence", "pretokenizers": []}, "0 parts"),
        (
            "gpt2",
            ["pre_tokenizer"],
            {"type": "Sequence", "pretokenizers": [SPLIT, BYTE_LEVEL]},
            r"the split pattern '(a+)+$' is none of gpt2",
        ),
        ("llama3", ["pre_tokenizer", "pretokenizers", 0, "behavior"], "Removed", "'Removed'"),
        ("llama3", ["pre_tokenizer", "pretokenizers", 0, "invert"], True, "invert = True"),
        ("llama3", ["pre_tokenizer", "pretokenizers", 1, "use_regex"], True, "use_regex = True"),
        ("gpt2", ["post_processor"], {"type": "RobertaProcessing"}, "'RobertaProcessing'"),
        ("gpt2", ["post_processor"], "ByteLevel", "post_processor is 'ByteLevel'"),
        ("gpt2", ["added_tokens"], None, "added_tokens is a list"),
        ("gpt2", ["added_tokens", 0], "<|end|>", "added_tokens is '<|end|>'"),
        ("gpt2", ["added_tokens", 0, "lstrip"], True, "lstrip = True"),
        ("gpt2", ["added_tokens", 0, "special"], False, "special = False"),
        ("gpt2", ["added_tokens", 0, "content"], ["x"], "content"),
        ("gpt2", ["added_tokens", 0, "content"], "two words", "there twice"),
        ("gpt2", ["added_tokens", 0, "content"], "", "belongs to both"),
        ("gpt2", ["added_tokens", 0, "id"], 5, "added_tokens"),
        ("bytes", ["model", "vocab", "a"], 98, "belongs to both"),
        ("characters", ["model", "unk_token"], "a", "unk_token = 'a'"),
        ("characters", ["model", "vocab", "word"], 0, "words are not supported"),
        ("characters", ["model", "vocab", "\ud800"], 0, "not a character"),
        ("characters", ["decoder"], None, "decoder is None"),
        ("characters", ["pre_tokenizer"], {"type": "Whitespace"}, "'Whitespace'"),
    ],
)
def test_what_is_refused_is_named(name, path, value, message):
    with pytest.raises(InputError) as error:
        from_json(changed(name, path, value))
    assert message in str(error.value)


def test_refusals_name_the_file(tmp_path):
    (tmp_path / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(InputError, match="tokenizer.json: a model of type None"):
        load_tokenizer(tmp_path)
    with pytest.raises(InputError, match="cannot read .*none.json"):
        load_tokenizer(tmp_path / "none.json")
    (tmp_path / "tokenizer.json").write_text("[]")
    with pytest.raises(InputError, match="tokenizer.json"):
        load_tokenizer(tmp_path)


def test_from_file_of_another_class_is_refused(tmp_path):
    ByteTokenizer().save(tmp_path)
    with pytest.raises(InputError, match="'bytes', not 'bpe'; load_tokenizer"):
        BPETokenizer.from_file(tmp_path)


def places(value):
    """Every (object or list, key) in a JSON value; of long ones only the first few keys."""
    if isinstance(value, (dict, list)):
        keys = list(value) if isinstance(value, dict) else range(len(value))
        for key in keys[:10]:
            yield value, key
            yield from places(value[key])


WRONG = [None, True, 0, -1, 1.5, 10**30, "", "a", "ByteLevel", "\ud800", [], {}, [[]], ["a", "b"]]


@pytest.mark.parametrize("name", ["llama3", "bytes", "characters"])
def test_every_value_may_be_wrong(name):
    """Each gives the documented error or a tokenizer that works, never another exception."""
    document = copy.deepcopy(to_json(TOKENIZERS[name].contents))
    outcomes = set()
    for place, key in list(places(document)):
        right = place[key]
        for place[key] in WRONG:
            try:
                contents = from_json(document)
                assert contents.fingerprint()
                outcomes.add("works")
            except InputError:
                outcomes.add("refused")
        place[key] = right
    assert from_json(document).fingerprint() == TOKENIZERS[name].fingerprint()
    assert outcomes == {"works", "refused"}


def test_damaged_bytes_give_the_documented_error_or_a_tokenizer(tmp_path):
    rng = random.Random(11)
    ByteTokenizer(SPECIAL).save(tmp_path / "whole.json")
    whole = (tmp_path / "whole.json").read_bytes()
    refused = 0
    for _ in range(200):
        damaged = bytearray(whole[: rng.randrange(len(whole))] if rng.random() < 0.2 else whole)
        for _ in range(rng.randrange(1, 4)):
            if damaged:
                damaged[rng.randrange(len(damaged))] = rng.randrange(256)
        (tmp_path / "f.json").write_bytes(damaged)
        try:
            load_tokenizer(tmp_path / "f.json").encode("text")
        except InputError:
            refused += 1
    assert refused > 100
