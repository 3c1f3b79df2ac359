"""What all reports share: pages and plots from templates, tables, values that JSON can hold.

Plots are drawn by templates of our own. matplotlib (100 MB with what it needs) writes fixed colours, which
do not follow light and dark, and no words to hover over; SVG libraries (svg.py, drawsvg) only write tags,
as a template does, and leave scales, ticks and labels to us.
"""
