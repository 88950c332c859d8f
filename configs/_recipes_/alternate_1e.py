# The authors' training in blocks of one epoch.
_base_ = './alternate.py'

custom_hooks = [dict(_base_.custom_hooks[0], period=1)]
