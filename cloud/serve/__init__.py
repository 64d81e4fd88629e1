"""Digits served over HTTP: the four functions that SageMaker's containers call.

To use it: deploy with `jobs`. To understand it read `handlers`; `ray` puts the same four behind
Ray Serve.
"""
