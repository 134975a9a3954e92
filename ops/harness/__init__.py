"""Real servers, load and an independent oracle for sluice: what the tests and the demo are built from."""
