"""A host whose scores are known beforehand."""
from __future__ import annotations

from denoiserep_ext.robustness.host import Host


class ToyHost(Host):
    """Notes what it is asked for; model ``i`` loses ``10 + i`` points per severity."""

    images = '4 of 4 toy images'

    def __init__(self, refuses=(), fails_at=None, metric='mAP'):
        self.refuses, self.fails_at, self.metric = refuses, fails_at, metric
        self.asked, self.settings = [], {'seed': 0, 'images': 4}

    def probe(self, corruption):
        if corruption.name in self.refuses:
            raise ValueError(f'a.png: {corruption.name} needs larger images.')

    def score(self, models, corruption):
        if len(self.asked) == self.fails_at:
            raise KeyboardInterrupt
        self.asked.append((tuple(models), corruption and str(corruption)))
        lost = 0 if corruption is None else corruption.severity + (corruption.name == 'fog') / 2
        return [{'mAP': 90.0 - (10 + i) * lost, 'Rank-1': 95.0 - 5 * lost} for i in models]

    def main_metric(self, metrics):
        if self.metric not in metrics:
            raise ValueError(f'no {self.metric}')
        return self.metric


def checkpoint_files(folder, *names):
    paths = []
    for name in names:
        path = folder / f'{name}.pth'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
        paths.append(path)
    return paths
