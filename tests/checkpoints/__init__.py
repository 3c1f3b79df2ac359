"""Reading checkpoints: good ones in every form, and one clear error from each bad one."""
