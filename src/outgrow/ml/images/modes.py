"""The modes that images can be brought to, for code that needs no Pillow to know them."""

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}
"""Of each mode, as Pillow calls it, how many numbers a pixel has."""
