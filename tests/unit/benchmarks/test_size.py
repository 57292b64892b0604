from pathlib import Path

import pytest

from benchmarks.size import read_modules
from stream_mer.errors import SettingError

SOURCE = '''"""A module."""


class A:
    @property
    def typed(self) -> int:
        def inner(x):
            return x

        return inner(1)

    async def half(self, x: int, *rest) -> None: ...


if True:

    def by_condition(*, key: str) -> str:
        return key
'''


def test_functions_are_counted_wherever_they_stand(tmp_path: Path) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "a.py").write_text(SOURCE)
    (module,) = read_modules(tmp_path)
    assert (module.name, module.lines) == ("room/a.py", len(SOURCE.splitlines()))
    found = {function.name: (function.lines, function.typed) for function in module.functions}
    assert found == {
        "room.a.A.typed": (5, True),
        "room.a.A.typed.inner": (2, False),
        "room.a.A.half": (1, False),
        "room.a.by_condition": (2, True),
    }


def test_a_module_of_a_docstring_alone_does_not_count(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text('"""Room."""\n')
    (tmp_path / "a.py").write_text("X = 1\n")
    assert [module.name for module in read_modules(tmp_path)] == ["a.py"]


def test_a_folder_without_modules_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="no Python module"):
        read_modules(tmp_path)
