pytest_plugins = ["tests.postgres", "tests.trained"]
