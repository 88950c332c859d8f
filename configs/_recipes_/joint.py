# Everything learns at once: task loss through the denoised weights, predictors solved from running
# moments.
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='joint')]
