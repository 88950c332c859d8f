"""The linear noise predictor's optimum in closed form, and how far from it a predictor is."""
from __future__ import annotations

import torch
from torch import Tensor

from .layers import DenoiseLayer
from .moments import Moments


class Optimum:
    """One layer's least-squares problem ``min E|eps - W_D x_t - b_D|^2``, solved in float64.

    ``S = abar C + (1 - abar) N``, ``W_D = sqrt(1 - abar) N S^-1``,
    ``b_D = -sqrt(abar) W_D E[x]``, with ``C`` the covariance (or E[x x^T] for a predictor without
    bias) and ``N = I`` for ``unit`` noise, ``N = p I`` with ``p = trace(C) / d`` for ``relative``.

    Args:
        layer: A converted layer.
        moments: Moments of its input.

    Attributes:
        weight: ``W_D`` [G, d, d]; zero at step 0, and for features that are zero throughout.
        bias: ``b_D`` [G, d], or None.

    Raises:
        ValueError: if the moments are empty.
        FloatingPointError: naming the layer, if they are not finite.
    """

    def __init__(self, layer: DenoiseLayer, moments: Moments) -> None:
        if not moments.count:
            raise ValueError(f'{layer.denoise_name}: no features reached this layer. Run at least one '
                             f'batch; if the model does not use it, leave it out of layers.')
        self.layer = layer
        self.alpha_bar = layer.coefficients.alpha_bar
        self.noise_share = 1 - self.alpha_bar
        self.mean, self.second = moments.mean, moments.second_moment(centred=False)
        centred = layer.denoiser.bias is not None
        self.clean = moments.second_moment(centred=True) if centred else self.second
        if not torch.isfinite(self.clean).all():
            raise FloatingPointError(
                f'{layer.denoise_name}: its input had non-finite values (NaN or infinity), so '
                f'nothing can be solved. Check the model and images.')
        self.power = torch.ones_like(self.mean[:, 0])
        if layer.denoise_config.noise == 'relative':
            self.power = moments.power(centred)
        self.weight = torch.zeros_like(self.clean)
        if layer.step:
            alive = (self.power > 0).view(-1, 1, 1)
            weight = self.noise_share**0.5 * self.power.view(-1, 1, 1) * self._inverse()
            self.weight = torch.where(alive, weight, self.weight)
        self.bias = None
        if centred:
            self.bias = -self.alpha_bar**0.5 * (self.weight @ self.mean.unsqueeze(-1)).squeeze(-1)

    def floor(self) -> float:
        """The least L2 denoising loss any linear predictor can reach on these features, in [0, 1]:
        ``1 - (1 - abar) p trace(S^-1) / d``, mean over groups (1 at step 0, where no noise is mixed
        in)."""
        trace = self.weight.diagonal(dim1=-2, dim2=-1).mean(-1)
        return (1 - self.noise_share**0.5 * trace).mean().item()

    @torch.no_grad()
    def loss(self, dtype: torch.dtype = torch.float64) -> float:
        """The L2 denoising loss of the layer's present predictor on these features, exactly (no
        noise is drawn): :meth:`floor` right after solving.

        Args:
            dtype: Precision of the one product of full size.
        """
        predictor, d = self.layer.denoiser, self.layer.denoiser.channels
        matrix = predictor.matrix().double()
        noisy = self._noisy(self.second)
        error = (self.power * d
                 - 2 * self.noise_share**0.5 * self.power * matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
                 + (matrix.to(dtype) @ noisy.to(dtype) * matrix).sum((1, 2)))
        if predictor.bias is not None:
            offset, drift = predictor.bias.double(), (matrix @ self.mean.unsqueeze(-1)).squeeze(-1)
            error = error + (2 * self.alpha_bar**0.5 * offset * drift + offset.square()).sum(-1)
        return torch.where(self.power > 0, error / (self.power * d), 1.0).mean().item()

    def _noisy(self, second: Tensor) -> Tensor:
        """``abar * second + (1 - abar) N``."""
        noisy = self.alpha_bar * second
        noisy.diagonal(dim1=-2, dim2=-1).add_(self.noise_share * self.power.unsqueeze(-1))
        return noisy

    def _inverse(self) -> Tensor:
        """``S^-1``. S is at least ``(1 - abar) p I``, so fewer samples than channels or dead
        channels are no trouble; where rounding of huge features hides that bound, it is restored
        eigenvalue by eigenvalue."""
        system, least = self._noisy(self.clean), (self.noise_share * self.power).unsqueeze(-1)
        identity = torch.eye(system.shape[-1], dtype=system.dtype, device=system.device)
        system = torch.where(least.unsqueeze(-1) > 0, system, identity)
        factor, failed = torch.linalg.cholesky_ex(system)
        if not failed.any():
            return torch.cholesky_inverse(factor)
        values, vectors = torch.linalg.eigh(system)
        least = torch.where(least > 0, least, 1.0)
        return (vectors / values.maximum(least).unsqueeze(-2)) @ vectors.mT
