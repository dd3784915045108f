"""Puts a request into the words of a chat completion: how the answer is held to its schema, and what may be cached."""
