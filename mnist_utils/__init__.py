"""Convolutional network design on MNIST: the small package that the lessons import.

    data, label_errors            the digits, and the doubtful labels
    augment                       what is trained on
    models, layers, chains        what is trained
    config, recipes               one run's settings; those that have a name
    train                         the loop, and its command line
    receptive_field, parameters   the lesson on paper, without torch
    evaluate, calibration         accuracy and mistakes; may a confidence be believed?
    explain                       where a network looks
    pruning                       a trained network, made smaller
    results                       what was measured
    weights                       a network on disk
    plots                         every picture
    errors, files, command        ground for all of it

Importing the package loads nothing heavy: each room imports only what it needs, when it is opened.
"""

__version__ = "1.0.0"
