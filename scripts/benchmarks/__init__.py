"""The suites of `python -m scripts.benchmark`: one module for each, which imports no other.

A suite is a file of conf/suite: `_target_` names a function, the other keys are its settings. The function takes the
command's whole composed settings and then its own by name, and says in its return annotation that it gives a
`scripts.measuring.figures.Report` (such as `Figures`). It may lie in any module, the file in any --config-dir.
"""
