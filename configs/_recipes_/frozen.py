# Label-free: the backbone stands still, images give the moments that the predictors are solved from.
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook', recipe='frozen')]
