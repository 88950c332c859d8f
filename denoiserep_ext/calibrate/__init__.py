"""Denoising a finished model in one pass over images, in every host; choosing the strength."""
