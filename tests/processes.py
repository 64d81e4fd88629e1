"""What a process of its own runs; here, where a spawned one can import it."""

import os

import torch

from mnist_utils import data, models
from mnist_utils.train import parallel
from mnist_utils.train.loop import loss_function


def first_gradients(rank, processes, port, out):
    """Gradients of one step on 63 digits in float64, where rounding hides nothing."""
    os.environ |= {"WORLD_SIZE": str(processes), "RANK": str(rank)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    split = data.load(train=True).take(slice(63))
    images = data.standardize(split.images).double()
    with parallel.group("cpu"):
        torch.manual_seed(0)
        model = models.build("CourseNet").double().train()
        network = parallel.share_work(model)
        loss_function(network(images), split.labels, 0.1).backward()
        if rank == 0:
            gradients = {name: p.grad for name, p in model.named_parameters()}
            torch.save(gradients | dict(model.named_buffers()), out)
