# Baseline: no such checkpoint is published for Oxford-IIIT Pet, so this config trains the one that
# the DenoiseRep configs start from, itself from published ImageNet weights.
_base_ = ['../_base_/finetune_swinv2-tiny-w8.py', '../_base_/pet_bs8_256.py']

model = dict(head=dict(num_classes=37))
