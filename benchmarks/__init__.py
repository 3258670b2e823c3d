"""Measurements: what is timed was checked first, and every peer runs in turn with ours."""
