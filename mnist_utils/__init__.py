"""Convolutional network design on MNIST: the small package behind the notebooks.

What a lesson opens lies at the top:

    data, label_errors         the digits, and the doubtful labels
    augment, models            what is trained on, and what is trained
    config, recipes            one run's settings; those that have a name
    receptive_field            the lesson on paper, without torch
    parameters                 the same of parameters and multiply-adds
    evaluate, calibration      accuracy and mistakes; may a confidence be believed?
    explain                    where a network looks
    results, weights           what was measured; a network on disk
    plots                      every picture

Each machine has one door, a sub-package named by the command that opens it, such as `describe`,
`train` or `jobs`; CONTRIBUTING.md lists them, and every room. Ground for all are `errors`, `files`
and `command`.
Importing the package loads nothing heavy: each room imports only what it needs, when it is opened.
"""

__version__ = "1.0.0"
