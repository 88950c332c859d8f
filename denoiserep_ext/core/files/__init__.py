"""Checkpoints: read safely, written whole, plain for every host."""
