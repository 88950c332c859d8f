# Alternate: blocks of 2k iterations, so that either side has half of the 20k.
_base_ = ['./fcn_r101-d8_control_4xb4-80k_ade20k-512x512.py', '../../_recipes_/alternate_2k.py']
