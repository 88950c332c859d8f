# Ten more epochs from the baseline, at one tenth of its learning rate, with the one line.
_base_ = ['./vmamba-d48_1xb64_digits.py']

load_from = 'work_dirs/vmamba-d48_1xb64_digits/epoch_30.pth'
custom_hooks = [dict(type='denoiserep_ext.DenoiseRepHook')]

optim_wrapper = dict(optimizer=dict(lr=2e-4))
param_scheduler = dict(end=10)
train_cfg = dict(max_epochs=10)
default_hooks = dict(checkpoint=dict(interval=10))
