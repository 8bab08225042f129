"""Changes of variables, for estimators and for pipelines."""
