"""`python -m optuna_llm.cli`, where the command is not on the path."""

from .main import main

if __name__ == "__main__":
    main(prog_name="optuna-llm")
