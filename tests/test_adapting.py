"""Which examples are short enough, whose files a folder holds, and the memory of a step."""

import subprocess
import sys

import pytest

from tinygrad_llm.errors import InputError
from tinygrad_llm.recipes.adapting import is_kept, short_enough
from tinygrad_llm.recipes.import_ import find_weights, import_model
from tinygrad_llm.recipes.reporter import Reporter
from tinygrad_llm.training import checkpoint


def test_long_examples_are_left_out_with_a_line():
    notes, reporter = [], Reporter()
    reporter.note = notes.append
    assert short_enough(["a", "b", "c"], [3, 9, 4], 4, reporter) == ["a", "c"]
    assert notes == ["1 examples of more than 4 tokens are left out (max_length)"]
    with pytest.raises(InputError, match="at most 2 tokens in one of the parts; shorten some, or"):
        short_enough(["a"], [3], 2, reporter)


def test_a_file_is_the_runs_once_there_is_a_checkpoint(tmp_path):
    path = tmp_path / "before.json"
    assert not is_kept(path)
    path.write_text("{}")
    assert not is_kept(path)
    (tmp_path / checkpoint.FILE).touch()
    assert is_kept(path)


STEP = """
import sys

import numpy as np

from tinygrad_llm.finetuning.lora import LoRAConfig
from tinygrad_llm.recipes.adapting import open_decoder
from tinygrad_llm.recipes.forecast import most_memory
from tinygrad_llm.training.loop import train_step
from tinygrad_llm.training.objectives import next_token
from tinygrad_llm.training.optimizer import AdamW

rng = np.random.default_rng(0)
model = open_decoder(sys.argv[1], LoRAConfig(), rng).model.train()
optimizer = AdamW(model.parameters())
batch = rng.integers(49152, size=(2, 8, 82))
for _ in range(2):
    train_step(model, next_token, optimizer, [tuple(batch)], lr=1e-3, clip=1.0, rng=rng)
print(most_memory())
"""


def test_a_step_of_adapters_beside_weights_in_4_bits_fits_in_a_gigabyte(tmp_path):
    """SmolLM2-135M, 8 texts as long as the longest of the 1,100 instructions: the process, its
    opening and two steps.
    """
    if sys.platform != "linux":
        pytest.skip("the largest memory of a process is read from Linux's /proc")
    try:
        find_weights("smollm2")
    except InputError as error:
        pytest.skip(str(error))
    import_model("smollm2", tmp_path / "4-bit", keep_bits=True)
    done = subprocess.run(
        [sys.executable, "-c", STEP, tmp_path / "4-bit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 1.2e9
