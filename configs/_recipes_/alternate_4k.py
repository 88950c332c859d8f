# The authors' training in blocks of 4,000 iterations.
_base_ = './alternate.py'

custom_hooks = [dict(_base_.custom_hooks[0], period=4000)]
