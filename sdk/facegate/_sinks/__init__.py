"""Where decisions go when they leave the device."""
