"""Noise that is shown: every layer denoises its patches by what pairs of clean and worse images say."""
