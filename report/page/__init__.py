"""A report as one HTML page: numbers and trials are plain HTML, figures are drawn where scripts may run."""

from collections.abc import Mapping
from typing import Final

from ..figures import Figure
from ..findings import Findings
from .html import text
from .packed import packed_json
from .script import FIRST_SCRIPT, SCRIPT
from .sections import (
    failures_section,
    parameters_section,
    progress_section,
    proposals_section,
    spending_section,
    summary_section,
    workers_section,
)
from .style import STYLE
from .trials import trials_section

__all__ = ["page_of"]

# Nothing is loaded, and nothing sent, whatever a name in the study would have a browser do.
POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline' blob:; img-src data: blob:"
TITLE_LENGTH: Final = 200


def page_of(findings: Findings, figures: Mapping[str, Figure], library: str, *, with_baseline: bool) -> str:
    """The page; `library` is the packed script that draws its figures."""
    title = text(findings.name, TITLE_LENGTH)
    plain = title.removeprefix("<bdi>").removesuffix("</bdi>")
    return "\n".join(
        [
            f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{plain}</title>',
            f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{STYLE}</style><script>{FIRST_SCRIPT}</script></head><body>",
            f"<h1>{title}</h1>",
            *summary_section(findings),
            *progress_section(findings, figures, with_baseline=with_baseline),
            *workers_section(findings, figures),
            *parameters_section(findings, figures),
            *spending_section(findings, figures),
            *proposals_section(findings, figures),
            *failures_section(findings),
            *trials_section(findings),
            packed_json("figures", figures),
            library,
            f"<script>{SCRIPT}</script></body></html>",
        ]
    )
