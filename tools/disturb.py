"""Another machine, rehearsed: what its rounding would change is changed here, by as little.

Each kernel of `pytest --disturbed DRAW notebooks` runs `disturb(DRAW)` before its first cell; what
a kernel starts (notebook 4's rehearsed jobs) is left alone. A stored output that does not hold
then might not hold on the next processor: it rests on how ties are broken, or on a last digit.
Three draws: the second computes in two threads, the third without oneDNN.
"""

import torch

from mnist_utils import data, weights

SIZE = 1e-7  # of a standardised pixel; of a weight, relatively


def disturb(draw: int) -> None:
    """Disturb, in this process, what networks read and what they were trained to.

    Bytes, labels and counts stay as they are, and random numbers as well. One pattern of noise
    lies over all digits, so that a digit read twice is the same.
    """
    torch.set_num_threads(2 if draw == 2 else 1)
    torch.backends.mkldnn.set_flags(draw != 3)
    pattern = SIZE * _normal((28, 28), draw)
    standardize, load = data.standardize_fractions, weights.load_network

    def disturbed_pixels(fractions):
        pixels = standardize(fractions)
        return pixels + (pattern if isinstance(pixels, torch.Tensor) else pattern.numpy())

    @torch.no_grad()
    def disturbed_network(path):
        network = load(path)
        for weight in network.parameters():
            weight.mul_(1 + SIZE * _normal(weight.shape, draw))
        return network

    data.standardize_fractions, weights.load_network = disturbed_pixels, disturbed_network


def _normal(shape, seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
