"""Error rates of biometric comparisons, with what is known about them."""
