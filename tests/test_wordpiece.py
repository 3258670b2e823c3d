"""WordPiece: words and parts by hand, MiniLM's ids beside Hugging Face's tokenizers."""

import json
import random

import pytest

from tests.random_texts import random_texts, shared_text
from tinygrad_llm.data.sources import embedded_corpus
from tinygrad_llm.errors import InputError
from tinygrad_llm.text import WordPieceTokenizer, load_tokenizer
from tinygrad_llm.text.contents import Contents, WordPieceSettings
from tinygrad_llm.text.streams import well_formed
from tinygrad_llm.text.wordpiece import normalized, words

NAMES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
PARTS = ["un", "##aff", "##able", "a", "##b", "don", "'", "t", ".", "##un"]


def contents(**settings):
    vocabulary = {part.encode(): len(NAMES) + i for i, part in enumerate(PARTS)}
    special = {name: i for i, name in enumerate(NAMES)}
    return Contents("wordpiece", vocabulary, special, wordpiece=WordPieceSettings(**settings))


@pytest.fixture(scope="module")
def theirs(minilm):
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    tokenizer = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def test_the_longest_part_first_by_hand():
    tokenizer = WordPieceTokenizer(contents())
    spelled = [tokenizer.token_bytes(i).decode() for i in tokenizer.encode("Unaffable, ab!")]
    assert spelled == ["un", "##aff", "##able", "[UNK]", "a", "##b", "[UNK]"]
    assert tokenizer.wrap(tokenizer.encode("a")) == [2, 7, 3]
    assert tokenizer.decode(tokenizer.encode("don't unaffable.")) == "don ' t unaffable."
    assert tokenizer.encode("[CLS] a", allowed_special={"[CLS]"}) == [2, 7]
    assert 2 not in tokenizer.encode("[CLS] a")
    with pytest.raises(InputError, match="does not write text as it goes"):
        tokenizer.stream_decoder()


def test_normalization_by_hand():
    plain = WordPieceSettings()
    assert normalized("Ça\tva\u200b\x07, ΌΣΟΣ 中文", plain) == "ca va, οσοσ  中  文 "
    assert normalized("Ça", WordPieceSettings(lowercase=False)) == "Ça"
    assert normalized("Ça", WordPieceSettings(strip_accents=False)) == "ça"
    assert words("it's $5.0  now") == ["it", "'", "s", "$", "5", ".", "0", "now"]


def test_a_word_that_is_too_long_is_unknown():
    tokenizer = WordPieceTokenizer(contents(max_input_chars_per_word=4))
    assert tokenizer.encode("unun ununu") == [4, 13, 1]


def test_saved_and_read_again_it_is_the_same(tmp_path):
    tokenizer = WordPieceTokenizer(contents(lowercase=False, after=("[SEP]", "[SEP]")))
    tokenizer.save(tmp_path)
    again = load_tokenizer(tmp_path)
    assert type(again) is WordPieceTokenizer and again.fingerprint() == tokenizer.fingerprint()
    tokenizers = pytest.importorskip("tokenizers", reason="pip install tokenizers")
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert theirs.encode("unaffable Un").ids == tokenizer.wrap(tokenizer.encode("unaffable Un"))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("normalizer", "type"), "NFC", "type = 'NFC' is not supported"),
        (("pre_tokenizer", "type"), "Whitespace", "type = 'Whitespace' is not supported"),
        (("model", "unk_token"), "[NOPE]", "no token '[NOPE]'"),
        (("model", "max_input_chars_per_word"), 0, "is not from 1 to"),
        (("model", "vocab", "\ud800"), 14, "surrogate"),
        (("post_processor", "single"), [], "0 times, not once"),
        (("decoder", "cleanup"), False, "cleanup = False is not supported"),
        (("model", "fancy"), 1, "fancy = 1 is not supported"),
    ],
    ids=str,
)
def test_what_is_refused_is_named(tmp_path, path, value, message):
    WordPieceTokenizer(contents()).save(tmp_path)
    document = json.loads((tmp_path / "tokenizer.json").read_text())
    part = document
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    (tmp_path / "tokenizer.json").write_text(json.dumps(document))
    with pytest.raises(InputError) as error:
        load_tokenizer(tmp_path)
    assert message in str(error.value)


def test_ids_of_minilm_are_those_of_tokenizers(minilm, theirs):
    ours = WordPieceTokenizer.from_file(minilm)
    texts = [*map(well_formed, random_texts(10_000, seed=11)), embedded_corpus()]
    texts += [shared_text("tinyshakespeare.txt")]
    for text in texts:
        ids = theirs.encode(text, add_special_tokens=False).ids
        assert ours.encode(text) == ids, repr(text[:200])
        assert ours.wrap(ids) == theirs.encode(text).ids
    some = random.Random(3).sample(texts, 200)
    assert [ours.decode(ours.encode(text)) for text in some] == [
        theirs.decode(ours.encode(text), skip_special_tokens=False) for text in some
    ]


def test_every_character_between_letters(minilm, theirs):
    ours = WordPieceTokenizer.from_file(minilm)
    codes = (code for code in range(0, 0x20000, 3) if not 0xD800 <= code < 0xE000)
    for text in (f"a{chr(code)}b" for code in codes):
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False).ids, repr(text)
