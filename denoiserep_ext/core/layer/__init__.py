"""What a denoising layer is: its step, its predictor, which layers become one, and how it is folded."""
