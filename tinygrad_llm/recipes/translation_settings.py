"""All settings of a training for translation; the defaults suit 30,000 pairs of short sentences.

The model is the small one of Wu et al. 2021, arXiv 2105.14462, who show that it does best on them,
with fewer tokens (Sennrich and Zhang 2019, arXiv 1905.11901, section 3.2); the rest is Vaswani et
al. 2017, sections 5 and 6.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tinygrad_llm.errors import InputError
from tinygrad_llm.models.encoder_decoder import EncoderDecoderConfig
from tinygrad_llm.recipes.settings import Groups
from tinygrad_llm.training.loop import StepsConfig
from tinygrad_llm.training.optimizer import AdamWConfig
from tinygrad_llm.training.schedules import ScheduleConfig

SMALL = EncoderDecoderConfig(
    vocab_size=4096,
    d_model=128,
    encoder_layers=4,
    decoder_layers=4,
    encoder_attention_heads=4,
    decoder_attention_heads=4,
    encoder_ffn_dim=256,
    decoder_ffn_dim=256,
    dropout=0.3,
)


@dataclass(frozen=True)
class TranslationConfig:
    """What to train on, and what to do between the steps."""

    source: str = ""  # a text a line; or text, tab, translation, where target is empty
    target: str = ""  # its translation a line
    val_source: str = ""  # the held-out pairs; empty: the last part of the others
    val_target: str = ""
    validation: float = 0.03  # that part
    tokenizer: str = "bpe"  # bpe, or the path of a tokenizer.json of a run like this one
    batch_tokens: int = 4096  # of one side of a batch, padding included
    label_smoothing: float = 0.1  # of each label, what goes to the whole vocabulary
    average: int = 5  # the model is the mean of the weights at so many last evaluations
    eval_every: int = 250  # steps between evaluations on the held-out pairs
    save_every: int = 250  # steps between checkpoints
    sample_every: int = 1000  # steps between samples; 0 for none
    patience: int = 0  # stop after so many evaluations without a better loss; 0 for never
    seed: int = 1  # of the weights, the batches and dropout

    def __post_init__(self) -> None:
        if not 0 < self.validation < 1:
            raise InputError(f"validation {self.validation} is not between 0 and 1")


@dataclass(frozen=True)
class TranslationSettings(Groups):
    """The five groups."""

    model: EncoderDecoderConfig = SMALL
    loop: StepsConfig = field(default_factory=lambda: StepsConfig(steps=6000))
    schedule: ScheduleConfig = field(
        default_factory=lambda: ScheduleConfig(lr=5e-3, warmup=2000, decay="inverse_sqrt")
    )
    adamw: AdamWConfig = field(
        default_factory=lambda: AdamWConfig(beta2=0.98, eps=1e-9, weight_decay=0.0)
    )
    run: TranslationConfig = field(default_factory=TranslationConfig)
