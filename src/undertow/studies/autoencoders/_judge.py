"""How near pictures are to images, by numbers: a classifier that is trained here, its features, and pixels."""

import warnings

import numpy as np


class Judge:
    """A classifier, its features, and the images to compare with."""

    def __init__(self, X: np.ndarray, labels: np.ndarray):
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier

        self.X = X
        self.network = MLPClassifier((64,), max_iter=60, tol=0, n_iter_no_change=100, random_state=0)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # it stops after the epochs that it is given
            self.network.fit(X, labels)

    def features(self, rows: np.ndarray) -> np.ndarray:
        return np.maximum(rows @ self.network.coefs_[0] + self.network.intercepts_[0], 0)

    def distance(self, rows: np.ndarray, others: np.ndarray) -> float:
        """Frechet's, squared, between Gaussians fitted to features."""
        (a, A), (b, B) = ((f.mean(axis=0), np.cov(f.T)) for f in map(self.features, (rows, others)))
        values, vectors = np.linalg.eigh(A)
        root = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ B @ root), 0)).sum()
        return float(((a - b) ** 2).sum() + np.trace(A) + np.trace(B) - 2 * overlap)

    def looks(self, rows: np.ndarray) -> tuple[float, float]:
        """Means: probability of the likeliest class, root mean square distance from the nearest image."""
        rows = rows.reshape(-1, rows.shape[-1])
        off = []
        for some in np.array_split(rows, max(1, len(rows) // 500)):
            squares = (some**2).sum(axis=1)[:, None] + (self.X**2).sum(axis=1) - 2 * some @ self.X.T
            off.append(np.sqrt(np.maximum(squares.min(axis=1), 0) / rows.shape[1]))
        likeliest = np.max(np.asarray(self.network.predict_proba(rows)), axis=1)
        return float(likeliest.mean()), float(np.concatenate(off).mean())
