# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run.
_base_ = ['./dino-4scale_r50_control_8xb2-12e_coco.py', '../../_recipes_/frozen-corruption.py']
