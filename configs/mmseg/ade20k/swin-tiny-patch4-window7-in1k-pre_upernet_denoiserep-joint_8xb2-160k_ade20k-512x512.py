# Joint: the control beside this file, and one hook.
_base_ = ['./swin-tiny-patch4-window7-in1k-pre_upernet_control_8xb2-160k_ade20k-512x512.py', '../../_recipes_/joint.py']
