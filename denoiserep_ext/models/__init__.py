"""Backbones that the toolboxes lack. They need torch alone."""
