"""Greedy answers of unmodified transformers, in a process that imports none of our code.

Run as ``python reference_generate.py TARGET MAX_NEW_TOKENS`` with a JSON list of prompts on stdin;
writes the JSON list of answers to stdout.
"""

from __future__ import annotations

import json
import sys

import torch
from transformers import AutoModelForImageTextToText, AutoTokenizer


def main(target: str, max_new_tokens: int) -> None:
    """Answer every prompt on stdin."""
    torch.set_num_threads(2)
    tokenizer = AutoTokenizer.from_pretrained(target)
    model = AutoModelForImageTextToText.from_pretrained(target, dtype=torch.float32).eval()
    answers = []
    for prompt in json.load(sys.stdin):
        messages = [{"role": "user", "content": prompt}]
        inputs = tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.no_grad():
            tokens = model.generate(**inputs, do_sample=False, max_new_tokens=max_new_tokens)
        new = tokens[0, inputs["input_ids"].shape[1] :]
        answers.append(tokenizer.decode(new, skip_special_tokens=True))
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
