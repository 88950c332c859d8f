# Label-free, against noise that is shown: the loaded weights are denoised by train images and the same
# images made worse, and written as one checkpoint. Name the noise that your images will meet.
custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook', recipe='frozen', noise='corruption',
        corruptions=['gaussian_noise@3', 'contrast@3', 'jpeg_compression@3']),
]
