"""Invertible maps between images and noise, with their exact log-determinants."""
