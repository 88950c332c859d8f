# MMPretrain's schedule for CUB-200: 100 epochs, batches of 64.
_base_ = ['mmpretrain::_base_/schedules/cub_bs64.py', 'mmpretrain::_base_/default_runtime.py']
