# Alternate: blocks of 4k iterations, so that either side has half of the 40k.
_base_ = ['./segformer_mit-b1_control_8xb2-160k_ade20k-512x512.py', '../../_recipes_/alternate_4k.py']
