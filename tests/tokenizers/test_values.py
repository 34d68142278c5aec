"""The one untyped name is used where a type is said, never to make a value."""

import ast
from pathlib import Path


def test_it_stands_in_annotations_only(root: Path) -> None:
    for path in (root / "src" / "robertakit" / "tokenizers").glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        calls = [
            node.func.id
            for node in ast.walk(tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        ]
        assert "Value" not in calls, path.name
