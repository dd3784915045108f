"""What mkdocstrings cannot read from the source: two functions that are made, and names in docstrings as links."""

import ast
import re
from typing import Any, Final

from griffe import Docstring, Extension, Function, Module, Parameters

# Functions of the root that are methods of one object there; the first line stands before the other's docstring.
MADE: Final = {"optimize_async": None, "optimize": "engine.run.blocking.DOC"}
METHOD: Final = "engine.run.optimize.Optimizer.optimize_async"

_NAME: Final = re.compile(r"(?<![\[`])`(\w+)`(?![\]`])")


class Names(Extension):
    """Mends the loaded package."""

    def on_package(self, *, pkg: Module, **_: Any) -> None:
        """Called once, when all of the package is loaded."""
        method = pkg[METHOD]
        for name, before in MADE.items():
            text = method.docstring.value
            if before is not None:
                text = ast.literal_eval(str(pkg[before].value)).replace("\n        ", "\n").strip() + "\n\n" + text
            made = Function(
                name,
                parameters=Parameters(*list(method.parameters)[1:]),
                returns=method.returns,
                docstring=Docstring(text, parser="google"),
                parent=pkg,
                runtime=True,
            )
            made.labels |= {"async"} if before is None else set()
            pkg.set_member(name, made)
        public = {str(name).strip("'\"") for name in pkg.exports or ()}
        for name in public:
            _link(pkg[name].final_target if pkg[name].is_alias else pkg[name], public)


def _link(thing: Any, public: set[str]) -> None:
    """Have names in the docstrings of `thing` and its members lead to their own places."""
    if thing.docstring is not None:
        own = thing.name if thing.parent.is_module else thing.parent.name

        def linked(name: re.Match[str]) -> str:
            is_other = name[1] in public and name[1] != own
            return f"[`{name[1]}`][optuna_llm.{name[1]}]" if is_other else name[0]

        thing.docstring.value = _NAME.sub(linked, thing.docstring.value)
    if thing.is_class:
        for member in thing.members.values():
            if not member.is_alias and not member.name.startswith("_"):
                _link(member, public)
