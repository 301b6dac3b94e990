"""Deep Q-learning: equitune and equizero on Gridworld, CartPole and Acrobot (paper, Sec. 5.1)."""
