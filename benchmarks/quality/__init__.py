"""How good proposals are, beside those of Optuna's own samplers."""
