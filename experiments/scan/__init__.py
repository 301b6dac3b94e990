"""SCAN: compositional generalisation in translating commands to actions (paper, Sec. 5.4)."""
