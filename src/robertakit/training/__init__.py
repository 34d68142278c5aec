"""Pre-training as published: text to shards, rows and masks, the loop, and recipes that put them together.

What needs no PyTorch imports without it.
"""
