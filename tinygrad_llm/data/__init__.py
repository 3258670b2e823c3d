"""Text to ids to shards to batches. This room knows tokenizers, but no Tensor and no model.

Read sources.py, token_file.py, tokens.py, shards.py, permutation.py and batches.py, in that order;
baselines.py says what simpler models of text reach.
"""
