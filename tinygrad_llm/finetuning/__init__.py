"""Fine-tuning: a pretrained model learns a task from examples; no file but theirs is known."""
