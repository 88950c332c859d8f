# Noise that is shown: the start of the control beside this file made to stand it, without labels
# and without training. The schedule is not run. There is nothing to average.
_base_ = './vmamba-tiny_control_16xb64_in1k.py'

custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook', recipe='frozen', noise='corruption',
        corruptions=['gaussian_noise@3', 'contrast@3', 'jpeg_compression@3']),
]
