"""Zipformer: the encoder of both streams, written from its equations.

    config       the numbers of a checkpoint's config.json
    elements     activations, norm, bypass, change of rate
    attention    relative positions, attention weights and their two kinds of user
    convolution  the convolution module; its variant without a look ahead
    layers       feed-forward and one whole layer
    front_end    features to 50 frames a second
    encoder      the stacks at their rates, and the encoder as a whole

Without what only regularises the original's training (balancers, whitening, scheduled dropouts,
feature masks): their absence changes no result. Parameter names are those of published files.

Notes
-----
Yao et al. 2024, "Zipformer: A faster and better encoder for automatic speech recognition",
arXiv 2310.11230.
"""
