"""The vision transformer: patches by hand, PyTorch's convolution, and a model that learns."""

import numpy as np
import pytest

from tinygrad_llm import functional as F
from tinygrad_llm.errors import InputError
from tinygrad_llm.models.vit import ViT, ViTConfig, patches
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import Loss
from tinygrad_llm.training.optimizer import AdamW

SMALL = ViTConfig(hidden_size=16, num_hidden_layers=2, intermediate_size=32, dropout=0.0)


def test_patches_by_hand():
    """0 1 | 2 3 over 4 5 | 6 7, then 8 9 | 10 11 over 12 13 | 14 15."""
    image = np.arange(16).reshape(1, 1, 4, 4)
    expected = [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    assert patches(image, 2).tolist() == [expected]


def test_embedding_patches_is_the_convolution_of_the_paper():
    torch = pytest.importorskip("torch", reason="pip install torch")
    rng = np.random.default_rng(0)
    model = ViT(ViTConfig(num_channels=3), rng=rng)
    images = rng.standard_normal((2, 3, 8, 8)).astype(np.float32)
    layer = model.patch_embedding
    kernel = torch.tensor(layer.weight.data).reshape(64, 3, 2, 2)
    expected = torch.nn.functional.conv2d(
        torch.tensor(images), kernel, torch.tensor(layer.bias.data), stride=2
    )
    found = patches(images, 2) @ layer.weight.data.T + layer.bias.data
    np.testing.assert_allclose(found, expected.flatten(2).mT.numpy(), atol=1e-5)


def test_it_learns_where_the_bright_patch_is():
    rng = np.random.default_rng(1)
    model = ViT(SMALL, rng=rng)
    optimizer = AdamW(model.parameters())
    labels = np.arange(40) % 4
    images = rng.standard_normal((40, 1, 8, 8)) * 0.1
    images[np.arange(40), 0, labels // 2 * 6, labels % 2 * 6] += 3

    def objective(model, images, labels):
        return Loss(F.cross_entropy(model(images), labels, reduction="sum"), len(labels))

    for _ in range(60):
        train_step(model, objective, optimizer, [(images, labels)], lr=3e-3, clip=1.0, rng=rng)
    assert (model.eval()(images).data.argmax(-1) == labels).all()


def test_what_it_refuses():
    with pytest.raises(InputError, match="image_size 8 is not divisible by patch_size 3"):
        ViTConfig(patch_size=3)
    with pytest.raises(InputError, match="shape"):
        ViT(SMALL, rng=np.random.default_rng(0))(np.zeros((2, 8, 8)))
