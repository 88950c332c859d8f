"""Real runs ended with SIGKILL at random moments and resumed: ``python -m tests.kills --help``."""
