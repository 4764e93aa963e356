"""Real servers for tests: they start on free loopback ports and stop with the test run."""
