"""What a conversion must show before it is given out."""
