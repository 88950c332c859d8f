# Alternate: blocks of 4k iterations, so that either side has half of the 40k.
_base_ = ['./fcn_r50-d8_control_4xb4-160k_ade20k-512x512.py', '../../_recipes_/alternate_4k.py']
