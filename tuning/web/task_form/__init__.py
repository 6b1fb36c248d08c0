"""The form of a task: texts that a person types, and the task document that they stand for."""
