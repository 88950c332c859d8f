# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./deit-small_control_4xb256_in1k.py', '../../_recipes_/frozen-corruption.py']
