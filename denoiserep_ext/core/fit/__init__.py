"""How predictors are fitted: moments of features, the optimum they give, and training."""
