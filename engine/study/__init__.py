"""Optuna's study, read and written: the only folder that touches its storage.

`StudyDoor` is how others read and write a study, `optuna_internals` holds what else is not public in Optuna, and
`attributes` draws what is stored. A test keeps Optuna's private attributes out of every other folder.
"""
