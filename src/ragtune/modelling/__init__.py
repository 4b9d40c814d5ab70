"""What the training worker and the serving engine share: where a model runs, in which number format, at which cost."""
