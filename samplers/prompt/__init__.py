"""What a model is told: which part of the study, and in which words."""
