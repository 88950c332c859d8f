# The baseline made to stand noise that is shown to it: no labels, no training, one checkpoint.
_base_ = ['./fcn_r18-w16-d16_1xb16_scenes.py', '../../_recipes_/frozen-corruption.py']

load_from = 'work_dirs/fcn_r18-w16-d16_1xb16_scenes/iter_2000.pth'
