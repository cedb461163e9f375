"""Pure steps: frames or arrays in, the same out. No session, path, clock, environment or configuration inside."""
