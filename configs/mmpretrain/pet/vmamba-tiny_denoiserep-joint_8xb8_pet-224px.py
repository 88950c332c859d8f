# Joint: the control beside this file, and one hook.
_base_ = ['./vmamba-tiny_control_8xb8_pet-224px.py', '../../_recipes_/joint.py']
