# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./swinv2-small-w8_control_16xb64_in1k-256px.py', '../../_recipes_/frozen-corruption.py']
