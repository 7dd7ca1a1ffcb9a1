"""What the studies of deep matrix factorization share."""

SOURCE = (
    "S. Arora, N. Cohen, W. Hu, Y. Luo, Implicit Regularization in Deep Matrix Factorization, NeurIPS 2019, "
    "arXiv:1905.13655"
)
