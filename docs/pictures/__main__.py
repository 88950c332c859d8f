"""The pictures of README and site, from committed figures: ``python -m docs.pictures``.

Figures are read from docs/pictures/figures; docs/pictures/figures/README.md has the commands that made
them. ``--out FOLDER`` draws elsewhere.
"""
import argparse
import json
from pathlib import Path

from . import detections, measured, method

HERE = Path(__file__).parent
DRAWN = {'noise_by_depth': measured.save_noise, 'robustness': measured.save_robustness,
         'detections': detections.save_detections}


def main() -> None:
    parser = argparse.ArgumentParser(prog='python -m docs.pictures', description=__doc__.splitlines()[0])
    parser.add_argument('--out', type=Path, default=HERE, help='folder (default: docs/pictures)')
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    method.save(out / 'method.svg')
    for name, draw in DRAWN.items():
        draw(json.loads((HERE / 'figures' / f'{name}.json').read_text()), out / f'{name}.png')


if __name__ == '__main__':
    main()
