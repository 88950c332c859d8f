# Joint: the control beside this file, and one hook.
_base_ = ['./swin-small_control_16xb64_in1k.py', '../../_recipes_/joint.py']
