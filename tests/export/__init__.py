"""``mtp-export export`` as its user meets it."""
