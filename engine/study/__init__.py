"""Optuna's study, read and written: the only folder that touches its storage."""
