"""The crossing between arrays and tensors: the only folder that knows both.

Below it live torch and nothing of numpy or scikit-learn; above it numpy and scikit-learn and no
torch.  What crosses is made here: tensors, arrays, seeds to generators, states to arrays.  Networks
train in float32.  They are evaluated in float64, so that the result for a row does not depend on
the rows beside it.
"""
