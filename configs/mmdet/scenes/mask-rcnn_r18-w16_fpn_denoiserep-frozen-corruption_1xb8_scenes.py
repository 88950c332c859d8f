# The baseline made to stand noise that is shown to it: no labels, no training, one checkpoint.
_base_ = ['./mask-rcnn_r18-w16_fpn_1xb8_scenes.py']

load_from = 'work_dirs/mask-rcnn_r18-w16_fpn_1xb8_scenes/epoch_16.pth'
custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook',
        recipe='frozen',
        noise='corruption',
        corruptions=['gaussian_noise@3', 'contrast@3', 'jpeg_compression@3'])
]
