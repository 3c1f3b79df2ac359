"""What all reports share: the look of a page, plots, values that JSON can hold."""
