"""Optimise an input until a frozen network says what was asked."""
