"""Within-class noise beside supervised controls that use the same labels: OSNet on the faces.

Linear discriminant analysis of the embedding, and a last linear layer fine-tuned to tell the training
identities apart, both by all labelled images; each is folded into the model as the within-class denoiser
is. FastReID's evaluator scores identities that nothing was fitted on. Run it as
    DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.osnet_supervised
"""
from __future__ import annotations

import tempfile
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from denoiserep_ext.calibrate.denoising import Denoising
from denoiserep_ext.calibrate.fastreid import FastReID
from denoiserep_ext.calibrate.images import DataOptions
from denoiserep_ext.calibrate.one_pass import OnePass
from denoiserep_ext.calibrate.passing import run_pass
from denoiserep_ext.core.fit.embedding import Affine
from tests.measure.printing import start, table
from tests.measure.ready import osnet

STRENGTHS = (0.01, 0.03, 0.1, 0.3, 1.0)
RATES, STEPS, TEMPERATURE = (1e-4, 1e-3, 1e-2), 200, 16


@torch.no_grad()
def embeddings(host: FastReID) -> tuple[Tensor, Tensor]:
    """Of all labelled images [n, d], and the identities [n]."""
    found = [host.embed(batch) for batch in host.load(host.batches())]
    return torch.cat([x for x, _ in found]), torch.cat([torch.as_tensor(y) for _, y in found])


def discriminants(x: Tensor, identity: Tensor) -> Affine:
    """Linear discriminant analysis, its covariance shrunk as Ledoit and Wolf do; as a map [d, d] whose
    further rows are zero."""
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    fitted = LinearDiscriminantAnalysis(solver='eigen', shrinkage='auto').fit(
        x.numpy(), identity.numpy())
    rows = torch.from_numpy(fitted.scalings_[:, :fitted._max_components].T.copy()).double()
    weight = torch.zeros(x.shape[1], x.shape[1], dtype=torch.float64)
    weight[:len(rows)] = rows
    return Affine(weight, -weight @ x.double().mean(0))


def fine_tuned(x: Tensor, identity: Tensor, rate: float) -> Affine:
    """A linear layer that starts as the identity and learns to tell identities apart by cosine, Adam on
    all embeddings at once."""
    torch.manual_seed(0)
    _, target = identity.unique(return_inverse=True)
    layer = torch.nn.Linear(x.shape[1], x.shape[1])
    torch.nn.init.eye_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    centres = torch.stack([x[target == k].mean(0) for k in target.unique()]).requires_grad_()
    optimiser = torch.optim.Adam([*layer.parameters(), centres], rate)
    for _ in range(STEPS):
        scores = F.normalize(layer(x)) @ F.normalize(centres).mT
        loss = F.cross_entropy(TEMPERATURE * scores, target)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return Affine(layer.weight.detach().double(), layer.bias.detach().double())


def main() -> None:
    """Fit, and print the table."""
    with tempfile.TemporaryDirectory() as folder:
        osnet(start(), Path(folder))
        host = FastReID(Path(folder) / 'osnet.yml', Path(folder) / 'osnet.pth', DataOptions(images=None))
    seen = OnePass(host, run_pass(host, host.layers, embedding=True, tokens=32, seed=0))
    host.restore()
    x, identity = embeddings(host)
    mean = x.double().mean(0)
    centring = Affine(torch.eye(x.shape[1], dtype=torch.float64), -mean)
    maps = {'centring alone': centring, 'discriminant analysis': discriminants(x, identity)}
    maps |= {f'last layer fine-tuned, rate {rate:g}': fine_tuned(x, identity, rate) for rate in RATES}
    rows = [('', 'mAP', 'Rank-1'), ('plain', *_scores(host))]
    for strength in STRENGTHS:
        seen.denoise_(Denoising('within_class', strength, centred=True))
        rows.append((f'within_class, centred, {strength:g}', *_scores(host)))
        host.restore()
    for name, affine in maps.items():
        host.fold_embedding(affine)
        rows.append((name, *_scores(host)))
        host.restore()
    print(f'{len(x)} labelled images of {len(identity.unique())} identities; tested on others\n')
    print(table(rows))


def _scores(host: FastReID) -> tuple[str, ...]:
    metrics = host.test()
    return tuple(f'{metrics[name]:.2f}' for name in ('mAP', 'Rank-1'))


if __name__ == '__main__':
    main()
