"""One study as a sampler sees it: what follows from its finished trials, and what is in flight."""
