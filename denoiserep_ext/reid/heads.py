"""A head for TransReID's protocol."""
from __future__ import annotations

from fastreid.modeling.heads import REID_HEADS_REGISTRY, EmbeddingHead


@REID_HEADS_REGISTRY.register()
class PreNeckHead(EmbeddingHead):
    """FastReID's ``EmbeddingHead`` tested on the features before its BNNeck, as TransReID and
    TransReID-SSL do (``TEST.NECK_FEAT: before`` there). Training is the same."""

    def forward(self, features, targets=None):
        """See ``EmbeddingHead``; in evaluation features [B, C, H, W] become embeddings [B, D]."""
        if self.training:
            return super().forward(features, targets)
        pooled = self.pool_layer(features)
        for layer in self.bottleneck:
            if 'Norm' not in type(layer).__name__:
                pooled = layer(pooled)
        return pooled[..., 0, 0]
