"""Is there an advisory database? Asked before an audit, which without one would say nothing.

PyPI's JSON tells of each release the advisories that are known (the PyPA's database). An index in
its place may lack the JSON, or the advisories in it, and every package would look clean: so it is
asked for a release that has some. Exit code 0 where it names them; 2, and why, where it does not.

    python -m tools.audit [--index https://pypi.org/pypi]
"""

from __future__ import annotations

import argparse
import sys
from typing import Final

import httpx

_INDEX: Final = "https://pypi.org/pypi"  # what pip-audit asks
# PYSEC-2014-8 and those that came since: a sandbox's temporary files, and what lets one break out.
_KNOWN_BAD: Final = "jinja2/2.4.1"
_TIMEOUT_S: Final = 20.0


def fault(index: str = _INDEX) -> str | None:
    """Return why an index tells of no advisories; None where it does."""
    url = f"{index}/{_KNOWN_BAD}/json"
    try:
        answer = httpx.get(url, timeout=_TIMEOUT_S, follow_redirects=True)
    except httpx.HTTPError as error:
        return f"{url} does not answer: {error}"
    kind = answer.headers.get("content-type", "no type")
    if answer.status_code != httpx.codes.OK or "json" not in kind:
        return f"{url} answers {answer.status_code} ({kind}) instead of its JSON"
    try:
        known = answer.json()["vulnerabilities"]
    except (ValueError, KeyError, TypeError):
        return f"{url} answers JSON without `vulnerabilities`"
    return None if known else f"{url} names no advisory, and there are some: it keeps none"


def main() -> int:
    """Ask, and tell."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--index", default=_INDEX, help="JSON of an index")
    why = fault(parser.parse_args().index)
    if why is None:
        return 0
    print(
        f"audit: no advisory database is reached, NOTHING was audited: {why}.\n"
        "Run it where pypi.org itself is reached.",
        file=sys.stderr,
    )
    return 2


if __name__ == "__main__":
    sys.exit(main())
