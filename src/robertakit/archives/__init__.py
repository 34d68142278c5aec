"""Files that others pack, opened without running or believing them: what is in them, and where its bytes lie.

No NumPy and no meaning: tensors are made of the bytes in ``checkpoints/``, settings are read in ``configuration``.
"""
