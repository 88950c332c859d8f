# The authors' training: predictors by SGD on the denoising loss in turn with everything else, in
# blocks of ten epochs.
custom_hooks = [
    dict(
        type='denoiserep_ext.DenoiseRepHook', recipe='alternate', solver='sgd', period=10,
        loss_weight=0.01),
]
