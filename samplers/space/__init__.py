"""Between Optuna's distributions and a model's JSON: schema, notation, reading, conforming."""
