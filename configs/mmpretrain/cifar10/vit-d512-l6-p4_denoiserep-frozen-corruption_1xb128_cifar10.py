# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./vit-d512-l6-p4_control_1xb128_cifar10.py', '../../_recipes_/frozen-corruption.py']
