"""One call of `optimize_async` or `ask_async`: what is done next, and who does it."""
