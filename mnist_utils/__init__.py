"""Convolutional network design on MNIST: the small package behind the notebooks.

Each module is one idea; `README.md` draws the map. Importing the package itself loads
nothing heavy: each module imports only what it needs, when it is opened.
"""

__version__ = "1.0.0"
