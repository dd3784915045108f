"""Measures that anyone can repeat from the root of a clone; README.md has the methods and the findings."""
