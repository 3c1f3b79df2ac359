"""LoRA adapters, against PEFT's own merge."""
