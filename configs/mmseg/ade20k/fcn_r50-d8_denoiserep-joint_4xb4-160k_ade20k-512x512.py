# Joint: the control beside this file, and one hook.
_base_ = ['./fcn_r50-d8_control_4xb4-160k_ade20k-512x512.py', '../../_recipes_/joint.py']
