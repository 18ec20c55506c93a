"""What was asked: recipes, overrides, the environment; every value typed and with its origin.

Light: pydantic and yaml only. Start at `recipe.parse`, then `resolve.resolve`.
"""
