"""The linear noise predictor's optimum in closed form, and how far from it a predictor is."""
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import Tensor

from ..layer.folding import combine, on_rows, shift_inputs
from ..layer.layers import DenoiseLayer
from .moments import Moments, resolution
from .symmetric import factor_, solve, trace_of_inverse

STACK = 2**21  # numbers of equal systems that are factored at a time (16 MB)
SLACK = 0.01  # share by which rounding may take an eigenvalue below its bound
SURE = 0.1  # share of that slack up to which what moments say of their rounding is believed
WORST = 0.1  # error of W_D beyond which it is refused, as a share of the largest it could be


class Optimum:
    """One layer's least-squares problem ``min E|eps - W_D x_t - b_D|^2``, solved in float64.

    ``S = abar C + (1 - abar) N``, ``W_D = sqrt(1 - abar) N S^-1``,
    ``b_D = -sqrt(abar) W_D E[x]``, with ``C`` the covariance (or E[x x^T] for a predictor without
    bias) and ``N = I`` for ``unit`` noise, ``N = p I`` with ``p = trace(C) / d`` for ``relative``.

    Args:
        layer: A converted layer.
        moments: Moments of its input.

    Attributes:
        system: ``S`` [G, d, d].
        rounding: Variance that may be nothing but rounding of the moments [G].
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
        if not all(value.isfinite().all() for value in (moments.total, moments.scale, *moments.panels)):
            raise FloatingPointError(
                f'{layer.denoise_name}: its input had non-finite values (NaN or infinity), so '
                f'nothing can be solved. Check the model and images.')
        self.layer, self.moments = layer, moments
        self.alpha_bar = layer.coefficients.alpha_bar
        self.noise_share = 1 - self.alpha_bar
        self.rounding = moments.rounding / moments.count
        self.centred, self.mean = layer.denoiser.bias is not None, moments.mean
        self.power = torch.ones_like(self.mean[:, 0])
        if layer.denoise_config.noise == 'relative':
            self.power = moments.power(self.centred)

    @cached_property
    def system(self) -> Tensor:
        system = self.moments.second_moment(self.centred).mul_(self.alpha_bar)
        system.diagonal(dim1=-2, dim2=-1).add_(self.least.unsqueeze(-1))
        return system

    @property
    def least(self) -> Tensor:
        """A bound below S's eigenvalues [G], ``(1 - abar) p``: fewer samples than channels or dead
        channels are no trouble."""
        return self.noise_share * self.power

    @cached_property
    def factor(self) -> Tensor:
        """Lower triangular factor of S [G, d, d], in the memory of ``system``, which is computed anew
        where it is asked for afterwards."""
        system = self.system
        del self.system
        return bounded_factors_(system, self.least, self.rounding)

    @cached_property
    def weight(self) -> Tensor:
        return torch.cholesky_inverse(self.factor).mul_(self._gain.view(-1, 1, 1))

    @property
    def _gain(self) -> Tensor:
        """``W_D`` over ``S^-1`` [G]; 0 at step 0, and for features that are zero throughout."""
        return self.noise_share**0.5 * self.power

    def folded(self) -> tuple[Tensor, Tensor | None]:
        """``(W', b')`` of the layer in float64 from the factor itself: ``W S^-1`` takes two triangular
        solves, ``W_D`` is never computed or rounded to the layer's precision."""
        layer, gain = self.layer, self._gain.view(-1, 1, 1)
        weight = layer.weight.detach().double()
        mixed = on_rows(weight, len(gain), lambda rows: solve(self.factor, rows.mT).mT.mul_(gain))
        fused = combine(weight, mixed, layer.coefficients)
        if layer.bias is None or not self.centred:
            return fused, layer.bias
        shift = -self.alpha_bar**0.5 * shift_inputs(mixed, self.mean)  # W b_D
        return fused, layer.bias.detach().double() - layer.coefficients.c1 * shift

    @property
    def bias(self) -> Tensor | None:
        if not self.centred:
            return None
        return -self.alpha_bar**0.5 * (self.weight @ self.mean.unsqueeze(-1)).squeeze(-1)

    def error(self) -> float:
        """What rounding in the moments may have done to ``W_D``, as a share of the largest it could be:
        the variance that was rounded over that of the noise, where features hardly vary."""
        return torch.where(self.least > 0, self.rounding / self.least, 0.0).max().item()

    def check(self) -> None:
        """Refuse moments whose rounding has spoilt the optimum, and what :meth:`write_` would refuse;
        hardly ever is anything solved for it.

        Raises:
            FloatingPointError: naming the layer.
        """
        if self.error() > WORST:
            worst = (self.rounding / self.least).nan_to_num().argmax()
            least, variance = self.least[worst], self.moments.power(centred=True)[worst]
            helps = resolution(torch.float64) * variance < WORST * least
            raise FloatingPointError(
                f'{self.layer.denoise_name}: the variance of its noise, {least:.1e}, is lost in the '
                f'rounding of its features, whose variance is {variance:.1e}. '
                f'{"Take its moments with dtype=torch.float64, or set" if helps else "Set"} more noise '
                f"(larger steps, step_stride or strength, or noise='relative').")
        if self.noise_share:
            # No value of W_D exceeds 1 / sqrt(1 - abar), none of b_D that times the norm of the mean.
            bound = self.mean.norm(dim=-1).max().clamp_min(1.0) / self.noise_share**0.5
            if bound > torch.finfo(self.layer.denoiser.fitted.dtype).max:
                self._require_range()

    def write_(self) -> None:
        """Set the layer's predictor to the optimum.

        Raises:
            FloatingPointError: naming the layer, if its precision cannot hold the predictor, which is
                then unchanged.
        """
        self._require_range()
        self.layer.denoiser.set_(self.weight, self.bias)

    def _require_range(self) -> None:
        dtype = self.layer.denoiser.fitted.dtype
        for name, value in (('W_D', self.weight), ('b_D', self.bias)):
            largest = 0.0 if value is None else value.abs().max().item()
            if largest > torch.finfo(dtype).max:
                raise FloatingPointError(
                    f'{self.layer.denoise_name}: {name} of its predictor reaches {largest:.2g}, and '
                    f'{str(dtype)[6:]}, in which the layer is, ends at {torch.finfo(dtype).max:.2g}. '
                    f"Convert the model in float32 or bfloat16, or set noise='relative' or more noise.")

    def floor(self) -> float:
        """The least L2 denoising loss any linear predictor can reach on these features, in [0, 1]:
        ``1 - (1 - abar) p trace(S^-1) / d``, mean over groups (1 at step 0, where no noise is mixed
        in)."""
        if 'weight' in vars(self):  # computed already: so is its trace
            trace = self.weight.diagonal(dim1=-2, dim2=-1).sum(-1)
        else:
            trace = self._gain * trace_of_inverse(self.factor)
        return (1 - self.noise_share**0.5 * trace / self.mean.shape[-1]).mean().item()

    @torch.no_grad()
    def loss(self, dtype: torch.dtype = torch.float64) -> float:
        """The L2 denoising loss of the layer's present predictor on these features, exactly (no
        noise is drawn): :meth:`floor` right after solving.

        Args:
            dtype: Precision of the one product of full size.
        """
        predictor, d = self.layer.denoiser, self.layer.denoiser.channels
        matrix = predictor.matrix().double()
        narrow = matrix.to(dtype)
        error = (self.power * d
                 - 2 * self.noise_share**0.5 * self.power * matrix.diagonal(dim1=-2, dim2=-1).sum(-1)
                 + (narrow @ self.system.to(dtype) * narrow).sum((1, 2), dtype=torch.float64))
        if predictor.bias is not None:
            # S is about the mean here: what predictor and mean do together is added.
            offset = self.alpha_bar**0.5 * (matrix @ self.mean.unsqueeze(-1)).squeeze(-1)
            error = error + (offset + predictor.bias.double()).square().sum(-1)
        return torch.where(self.power > 0, error / (self.power * d), 1.0).mean().item()


def optima(problems: Iterable[tuple[DenoiseLayer, Moments]]) -> Iterator[Optimum]:
    """Factor the systems of many layers, those of one size together, a bounded number at a time.

    Args:
        problems: Layers and their moments, each read when its turn comes.

    Yields:
        The optima, in another order than the problems.
    """
    waiting: dict[int, list[Optimum]] = defaultdict(list)
    for layer, moments in problems:
        optimum = Optimum(layer, moments)
        stack = waiting[moments.shape[1]]
        stack.append(optimum)
        if sum(each.system.numel() for each in stack) >= STACK:
            yield from _factor_together(waiting.pop(moments.shape[1]))
    for stack in waiting.values():
        yield from _factor_together(stack)


def _factor_together(stack: list[Optimum]) -> Iterator[Optimum]:
    if len(stack) > 1:
        factors = bounded_factors_(*(torch.cat([getattr(each, name) for each in stack])
                                     for name in ('system', 'least', 'rounding')))
        for each, part in zip(stack, factors.split([len(each.system) for each in stack])):
            each.factor = part
    while stack:
        yield stack.pop()  # whoever takes it holds it alone: large systems go one by one


def bounded_factors_(system: Tensor, least: Tensor, rounding: Tensor) -> Tensor:
    """Cholesky factors [n, d, d] of symmetric systems whose eigenvalues are at least ``least`` [n]; the
    identity where that is 0 (no noise, or features that are zero throughout). Where rounding of huge
    features hides the bound, it is restored eigenvalue by eigenvalue.

    Args:
        system: ``S`` [n, d, d]; lost.
        least: The bound [n].
        rounding: What rounding may have taken from the eigenvalues [n].
    """
    dead = least <= 0
    if dead.any():
        identity = torch.eye(system.shape[-1], dtype=system.dtype, device=system.device)
        system = torch.where(dead.view(-1, 1, 1), identity, system)
    doubtful = (rounding > SURE * SLACK * least) & ~dead
    if doubtful.any():
        low = doubtful.clone()
        low[doubtful] = _below_(system[doubtful], (1 - SLACK) * least[doubtful])
        if low.any():
            values, vectors = torch.linalg.eigh(system[low])
            raised = vectors * values.maximum(least[low].unsqueeze(-1)).unsqueeze(-2)
            system = system.index_put((low, ), raised @ vectors.mT)
    return factor_(system, check_errors=True)[0]


def _below_(system: Tensor, bound: Tensor) -> Tensor:
    """Whether an eigenvalue of each system, which is lost, lies below its bound [n].

    Entries of S^-1 do not tell: its largest eigenvalue may be d times the largest of them. That S less
    the bound has a factor does.
    """
    system.diagonal(dim1=-2, dim2=-1).sub_(bound.unsqueeze(-1))
    return factor_(system)[1] > 0
