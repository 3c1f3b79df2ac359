"""LoRA adapters in PEFT's format, added to a checkpoint's weights while they are read."""
