"""The audio tower and its adapter, written so that they lower to plain operations."""
