# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./segformer_mit-b0_control_8xb2-160k_ade20k-512x512.py', '../../_recipes_/frozen-corruption.py']
