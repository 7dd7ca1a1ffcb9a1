"""Undertow: the implicit regularization of gradient descent."""
