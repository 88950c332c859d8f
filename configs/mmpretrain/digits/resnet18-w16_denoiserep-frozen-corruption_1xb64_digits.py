# The baseline made to stand noise that is shown to it: no labels, no training, one checkpoint.
_base_ = ['./resnet18-w16_1xb64_digits.py']

load_from = 'work_dirs/resnet18-w16_1xb64_digits/epoch_30.pth'
custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='frozen',
        noise='corruption',
        corruptions=['gaussian_noise@3', 'contrast@3', 'jpeg_compression@3'])
]
