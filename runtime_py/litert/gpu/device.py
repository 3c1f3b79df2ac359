"""What to say where there is no GPU: what was looked for, and what to install."""

from __future__ import annotations

SIGNS = ("No adapters found", "Failed to initialize WebGPU environment")
"""What LiteRT's log says then."""

MISSING = (
    "looked for a Vulkan device that LiteRT's WebGPU accelerator can use and found none; install a GPU "
    "driver, or a software device: apt-get install chromium-common libvulkan1, then set "
    "VK_ICD_FILENAMES=/usr/lib/chromium/vk_swiftshader_icd.json"
)


def is_missing(log: str) -> bool:
    """Whether LiteRT's log says that there is no device."""
    return any(sign in log for sign in SIGNS)
