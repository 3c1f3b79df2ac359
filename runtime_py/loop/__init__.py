"""The speculative loop for one sequence and for several: no torch, no LiteRT, no tokenizer."""
