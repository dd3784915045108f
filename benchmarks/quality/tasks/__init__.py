"""What proposals are compared on: tables, learners of scikit-learn, and functions."""
