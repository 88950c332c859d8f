# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./vmamba-tiny_control_8xb8_pet-224px.py', '../../_recipes_/frozen-corruption.py']
