# Baseline: VMamba-S[s2l15], published with 83.6 % on ImageNet.
_base_ = './vmamba-tiny_16xb64_in1k.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.3))
