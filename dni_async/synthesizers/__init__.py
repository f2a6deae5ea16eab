"""Models that predict the gradient of the loss with respect to an activation.

All work in per-sample units: the gradient of one sample's own loss, N times the gradient of the
mean loss of N samples, so that their scale does not depend on the batch size.
"""
