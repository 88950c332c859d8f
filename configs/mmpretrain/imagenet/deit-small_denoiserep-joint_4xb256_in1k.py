# Joint: the control beside this file, and one hook.
_base_ = ['./deit-small_control_4xb256_in1k.py', '../../_recipes_/joint.py']
