"""What callers may send to a model, and what they get: said by its type hints or its example, checked in Lambda.

When a model is saved, `describing` reads its hints: each becomes a shape (`shapes`, `limits`), the shape a JSON Schema
(`schemas`, `libraries`) and a plan for making the types that the hint names (`plans`). In Lambda, `checking` and
`conversion` follow the two; no hint is read there, and nothing else of this package is imported.
"""
