"""The estimators, what they share, and what is drawn from them."""
