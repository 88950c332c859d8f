# Joint: the control beside this file, and one hook.
_base_ = ['./vit-base-p16_control_8xb8_flowers102-224px.py', '../../_recipes_/joint.py']
