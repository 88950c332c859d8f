# Baseline: VMamba-B[s2l15], published with 83.9 % on ImageNet.
_base_ = './vmamba-tiny_16xb64_in1k.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.6), head=dict(in_channels=1024))
