# Joint: the control beside this file, and one hook.
_base_ = ['./resnet50_control_8xb8_pet.py', '../../_recipes_/joint.py']
