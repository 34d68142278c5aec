"""Text to ids and back: RoBERTa's and XLM-R's tokenizers, each slow (the specification) and fast."""
