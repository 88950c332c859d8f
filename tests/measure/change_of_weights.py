"""How much assumed noise changes CIFAR-10's ResNet-20, and what that does to its accuracy:
``DENOISEREP_TEST_DATA=FOLDER python -m tests.measure.change_of_weights``. Test accuracy is shown to
find out what is too much, not to choose a strength by."""
from __future__ import annotations

import argparse
import copy
from statistics import fmean

import torch

from denoiserep_ext import DenoiseRepConfig, convert_, fit_one_pass_, step_sizes
from tests.measure.cifar import load_images, load_resnet20
from tests.measure.printing import start, table

STRENGTHS = (0.0001, 0.001, 0.003, 0.01, 0.03, 0.1)


@torch.no_grad()
def accuracy(model, x, y) -> float:
    """In %."""
    guesses = torch.cat([model(batch).argmax(1) for batch in x.split(256)])
    return 100 * (guesses == y).double().mean().item()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--quick', action='store_true', help='a small part, to see that it runs')
    args, data = parser.parse_args(argv), start()
    strengths = STRENGTHS[::5] if args.quick else STRENGTHS
    (images, _), test = load_images(data, 'train'), load_images(data, 'test')
    plain = load_resnet20(data).eval()
    rows = [('noise', 'strength', 'mean change', 'largest', 'accuracy'),
            ('none', '0', '0 %', '0 %', f'{accuracy(plain, *test):.2f}')]
    for noise in ('unit', 'relative'):
        for strength in strengths:
            model = copy.deepcopy(plain)
            convert_(model, DenoiseRepConfig(noise=noise, strength=strength))
            fit_one_pass_(model, images[:1024].split(256))
            sizes = step_sizes(model).values()
            rows.append((noise, f'{strength:g}', f'{fmean(sizes):.1%}', f'{max(sizes):.1%}',
                         f'{accuracy(model, *test):.2f}'))
    print(table(rows))


if __name__ == '__main__':
    main()
