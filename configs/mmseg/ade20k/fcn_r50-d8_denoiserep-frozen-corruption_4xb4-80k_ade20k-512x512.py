# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./fcn_r50-d8_control_4xb4-80k_ade20k-512x512.py', '../../_recipes_/frozen-corruption.py']
