"""The page that puts two to six tasks, or experiments, side by side."""
