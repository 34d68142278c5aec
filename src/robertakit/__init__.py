"""RoBERTa and XLM-RoBERTa: the documented API, complete, exact and strict.

Names are resolved on first use, so that ``import robertakit`` imports nothing else.
"""

__version__ = "0.1.0"
