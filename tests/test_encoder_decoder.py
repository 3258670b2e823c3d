"""The transformer: padding that changes nothing, no look ahead, equal to PyTorch's, caches."""

import dataclasses

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.inference.cache import LayerCache
from tinygrad_llm.models.encoder_decoder import EncoderDecoder, EncoderDecoderConfig
from tinygrad_llm.tensor import no_grad
from tinygrad_llm.training.objectives import next_target_token

SMALL = EncoderDecoderConfig(
    vocab_size=31,
    d_model=24,
    encoder_layers=2,
    decoder_layers=2,
    encoder_attention_heads=4,
    decoder_attention_heads=2,
    encoder_ffn_dim=40,
    decoder_ffn_dim=36,
    max_position_embeddings=32,
    dropout=0.0,
)
RNG = np.random.default_rng(5)
SOURCE = RNG.integers(3, 31, size=(3, 8))
SOURCE[1, 6:] = 0
TARGET = RNG.integers(3, 31, size=(3, 6))
LABELS = np.where(np.arange(6) < [[6], [3], [5]], RNG.integers(3, 31, size=(3, 6)), -100)


def small_model(**changes):
    model = EncoderDecoder(dataclasses.replace(SMALL, **changes), rng=np.random.default_rng(1))
    rng = np.random.default_rng(2)
    for parameter in model.parameters():  # biases and norms that matter
        if parameter.ndim == 1:
            parameter.copy_(parameter.data + rng.standard_normal(parameter.shape) * 0.2)
    return model


def padded(array, n, value):
    return np.pad(array, ((0, 0), (0, n)), constant_values=value)


def test_parameters_of_the_papers_base_model():
    """Table 3 says 65 million: 37,000 * 512 for the one embedding; an encoder layer has attention
    4 * 513 * 512, feed-forward 513 * 2,048 + 2,049 * 512, norms 4 * 512; a decoder layer one
    attention and one norm more.
    """
    config = EncoderDecoderConfig(vocab_size=1, encoder_layers=1, decoder_layers=1)
    encoder = 4 * 513 * 512 + 513 * 2048 + 2049 * 512 + 4 * 512
    decoder = encoder + 4 * 513 * 512 + 2 * 512
    one = EncoderDecoder(config, rng=np.random.default_rng(0)).num_parameters()
    assert one == 512 + encoder + decoder
    assert 37_000 * 512 + 6 * (encoder + decoder) == 63_082_496


@pytest.mark.parametrize("more", [1, 3, 8])
@pytest.mark.parametrize(
    "changes", [{}, {"activation_function": "gelu"}, {"pre_norm": True}], ids=str
)
def test_padding_changes_neither_loss_nor_gradient(more, changes):
    model, found = small_model(**changes), []
    for n in (0, more):
        model.zero_grad()
        source, target, labels = padded(SOURCE, n, 0), padded(TARGET, n, 0), padded(LABELS, n, -100)
        loss = next_target_token(model, source, target, labels, label_smoothing=0.1)
        (loss.total * (1 / loss.tokens)).backward()
        found.append((loss.total.item() / loss.tokens, [p.grad for p in model.parameters()]))
    (loss, gradients), (again, others) = found
    assert abs(loss - again) < 1e-6
    for a, b in zip(gradients, others, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_the_source_is_seen_whole_and_the_target_up_to_itself():
    model = small_model().eval()
    first = model(SOURCE, TARGET).data
    source, target = SOURCE.copy(), TARGET.copy()
    target[:, 3] = 3 + (target[:, 3] - 2) % 28
    assert np.array_equal(model(SOURCE, target).data[:, :3], first[:, :3])
    assert not np.allclose(model(SOURCE, target).data[:, 3:], first[:, 3:], atol=1e-3)
    source[0, 7] = 3 + (source[0, 7] - 2) % 28
    assert (np.abs(model(source, TARGET).data - first)[0].max(axis=1) > 1e-4).all()


def test_the_order_of_the_source_matters():
    model = small_model().eval()
    turned = model(SOURCE[:, ::-1][:1], TARGET[:1]).data
    assert not np.allclose(turned, model(SOURCE[:1], TARGET[:1]).data, atol=1e-3)


def test_a_cache_gives_what_the_whole_target_gives():
    model = small_model().eval()
    with no_grad():
        whole = model.hidden(SOURCE, TARGET).data
        mask = model.mask_of(SOURCE)
        memory, cache = model.encode(SOURCE, mask), [LayerCache() for _ in model.decoder]
        parts = [
            model.decode(TARGET[:, first:end], memory, mask, cache=cache).data
            for first, end in ((0, 2), (2, 3), (3, 6))
        ]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-5)


def test_dropout_follows_the_generator():
    losses = [
        next_target_token(small_model(dropout=0.3), SOURCE, TARGET, LABELS).total.item()
        for _ in range(2)
    ]
    assert losses[0] == losses[1]
    assert losses[0] != next_target_token(small_model(), SOURCE, TARGET, LABELS).total.item()


@pytest.mark.parametrize("pre_norm", [False, True])
def test_forward_and_gradients_are_those_of_torch(pre_norm):
    torch = pytest.importorskip("torch")
    from benchmarks.torch_transformer import TorchTransformer, torch_name

    model = small_model(decoder_attention_heads=4, decoder_ffn_dim=40, pre_norm=pre_norm)
    twin = TorchTransformer(model.config)
    twin.load_ours(model.state_dict())
    source, target, labels = map(torch.tensor, (SOURCE, TARGET, LABELS))
    logits = twin.logits(source, target).detach()
    np.testing.assert_allclose(model(SOURCE, TARGET).data, logits, atol=1e-5)
    loss = twin(source, target, labels, label_smoothing=0.1)
    loss.backward()
    ours = next_target_token(model, SOURCE, TARGET, LABELS, label_smoothing=0.1)
    (ours.total * (1 / ours.tokens)).backward()
    assert abs(ours.total.item() / ours.tokens - loss.item()) < 1e-5
    theirs = dict(twin.named_parameters())
    for name, parameter in model.named_parameters():
        gradient = theirs[torch_name(name)].grad
        np.testing.assert_allclose(parameter.grad, gradient, atol=1e-5, err_msg=name)


def test_the_loss_is_that_of_the_logits():
    model = small_model()
    whole = F.cross_entropy(model(SOURCE, TARGET), LABELS, reduction="sum", label_smoothing=0.2)
    loss = next_target_token(model, SOURCE, TARGET, LABELS, label_smoothing=0.2)
    assert loss.tokens == 14 and abs(whole.item() - loss.total.item()) < 1e-3


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"d_model": 10}, "d_model 10 is not divisible by encoder_attention_heads 4"),
        ({"decoder_layers": 0}, "decoder_layers is 0"),
        ({"pad_token_id": -1}, "pad_token_id is -1"),
        ({"dropout": 1.0}, "dropout 1.0 is not in"),
        ({"activation_function": "rely"}, "relu"),
    ],
)
def test_a_wrong_shape_is_refused(changes, says):
    with pytest.raises(InputError, match=says):
        dataclasses.replace(SMALL, **changes)


def test_too_long_a_text_is_refused():
    with pytest.raises(InputError, match="33 tokens are more than the model's context of 32"):
        small_model().encode(np.ones((1, 33), int))
