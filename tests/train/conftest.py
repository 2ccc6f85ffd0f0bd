from conftest_train import pictures  # noqa: F401
