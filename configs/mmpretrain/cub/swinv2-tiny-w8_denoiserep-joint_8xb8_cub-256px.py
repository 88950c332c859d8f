# Joint: the control beside this file, and one hook.
_base_ = ['./swinv2-tiny-w8_control_8xb8_cub-256px.py', '../../_recipes_/joint.py']
