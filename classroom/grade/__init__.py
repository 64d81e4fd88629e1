"""Submissions of the assignment graded: networks built again and trained here, tables compared.

To use it: `python -m classroom.grade --help`. To understand it read `rubric.toml`, then `marks`.
Machinery, not needed: `submission` reads a folder with care; behind a `wall`, `spec` runs its code
and writes its networks down, `inside` has `rebuild` build them again, and trains them; `grading`
keeps submissions apart, `report` writes their pages, `roster` the class's.
"""
