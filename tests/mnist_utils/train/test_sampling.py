"""Which digits an epoch sees."""

from dataclasses import replace

import torch

from mnist_utils.config import TrainConfig
from mnist_utils.train import sampling

LOSSES = torch.tensor([0.0, 1.0, 2.0, 4.0])


def draws(n, size, power):
    generator = torch.Generator().manual_seed(0)
    return [sampling.draw(LOSSES, size, power, generator).tolist() for _ in range(n)]


def test_the_first_epoch_sees_all_digits_and_the_others_their_share():
    config = replace(TrainConfig(), epochs=4, share=0.4)
    assert sampling.epoch_sizes(60_000, config) == [60_000, 24_000, 24_000, 24_000]
    assert sampling.epoch_sizes(2, replace(config, share=0.001)) == [2, 1, 1, 1]


def test_no_digit_comes_twice_and_one_seed_gives_one_order():
    for size in (2, 4):
        orders = draws(50, size, 2.0)
        assert all(len(set(order)) == size for order in orders)
        assert len({tuple(order) for order in orders}) > 3
        assert orders == draws(50, size, 2.0)


def test_one_digit_is_drawn_in_proportion_to_its_weight():
    for power in (0.0, 1.0, 2.0):
        weights = (LOSSES + 0.175) ** power  # a tenth of the mean added
        counts = torch.bincount(torch.tensor(draws(20_000, 1, power)).flatten(), minlength=4)
        assert torch.allclose(counts / 20_000, weights / weights.sum(), atol=0.01)


def test_without_replacement_the_second_is_drawn_among_those_left():
    pairs = [set(order) for order in draws(20_000, 2, 1.0)]
    weights = ((LOSSES + 0.175) / (LOSSES + 0.175).sum()).tolist()
    a, b = weights[2], weights[3]
    expected = a * b / (1 - a) + b * a / (1 - b)
    assert abs(pairs.count({2, 3}) / 20_000 - expected) < 0.015
