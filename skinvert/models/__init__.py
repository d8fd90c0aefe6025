"""Networks and how they are trained, frozen, translated and distilled."""
