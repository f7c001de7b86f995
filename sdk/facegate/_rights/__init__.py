"""What a person may ask of a gate, one module for each answer; `_privacy_officer` is the way to them."""
