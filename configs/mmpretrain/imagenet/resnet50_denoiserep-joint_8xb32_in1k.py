# Joint: the control beside this file, and one hook.
_base_ = ['./resnet50_control_8xb32_in1k.py', '../../_recipes_/joint.py']
