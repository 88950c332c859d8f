# The baseline made to stand noise that is shown to it: no labels, no training, one checkpoint.
_base_ = ['./mask-rcnn_r18-w16_fpn_1xb8_scenes.py', '../../_recipes_/frozen-corruption.py']

load_from = 'work_dirs/mask-rcnn_r18-w16_fpn_1xb8_scenes/epoch_16.pth'
