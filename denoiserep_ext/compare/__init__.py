"""Baseline, control and DenoiseRep for the same budget: what tools/compare.py runs."""
