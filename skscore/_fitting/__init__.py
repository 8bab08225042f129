"""The steps of a fit, in the order in which ``fit`` takes them.

Free functions of an estimator (read for its parameters, never written to) and of plain values.
"""
