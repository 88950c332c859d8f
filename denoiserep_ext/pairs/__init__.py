"""Noise that is shown, inside a host's own commands: options, pairs of images, the walk, its report."""
