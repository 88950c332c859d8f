#!/usr/bin/env python
"""Train and test any FastReID config, with DenoiseRep or without: FastReID's own command line."""
import sys

from denoiserep_ext.reid.train_net import run

if __name__ == '__main__':
    sys.exit(run())
