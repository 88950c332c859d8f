# The baseline made to stand noise that is shown to it: no labels, no training, one checkpoint.
_base_ = ['./resnet18-w16_1xb64_digits.py', '../../_recipes_/frozen-corruption.py']

load_from = 'work_dirs/resnet18-w16_1xb64_digits/epoch_30.pth'
