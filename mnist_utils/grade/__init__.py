"""Submissions of the assignment graded: networks rebuilt and trained here, tables compared.

To use it: `python -m mnist_utils.grade --help`. To understand it read `rubric.toml`, then `marks`.
Machinery, not needed: `submission` reads a folder with care, `sandbox` runs `spec` over its code,
`rebuild` makes the network anew, `training` trains it in a process of its own, `grading` keeps them
apart, `report` writes.
"""
