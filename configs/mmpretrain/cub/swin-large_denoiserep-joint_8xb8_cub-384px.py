# Joint: the control beside this file, and one hook.
_base_ = ['./swin-large_control_8xb8_cub-384px.py', '../../_recipes_/joint.py']
