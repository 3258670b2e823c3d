"""Pretrained models learn a task: classes, instructions, preferences; whole, or by adapters."""
