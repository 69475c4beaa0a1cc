"""The table of mutants: each with the draw that refuted it, and its twin that was not.

`python -m tests.mutants` tries all, `python -m tests.mutants MSK-01 TIL-15` those named, and
`--list` prints what they are without trying them.
"""

from __future__ import annotations

import sys
import tempfile

from tests.mutants.trial import all_mutants, described, line, tried


def main(arguments: list[str]) -> int:
    """Print the table; 1 where a mutant survives for no stated reason, or a twin is refuted."""
    named = {word for word in arguments if not word.startswith("-")}
    chosen = [mutant for mutant in all_mutants() if not named or mutant.bug in named]
    if "--list" in arguments:
        sys.stdout.writelines(f"{described(mutant)}\n" for mutant in chosen)
        return 0
    killed, surprises = 0, 0
    for mutant in chosen:
        with tempfile.TemporaryDirectory() as store:
            trial, twin = (tried(mutant, wrong, store) for wrong in (True, False))
        killed += bool(trial.refuted)
        surprises += bool(twin.refuted) or (not trial.refuted and not mutant.survives)
        note = "  TWIN REFUTED" if twin.refuted else ""
        sys.stdout.write(f"{line(trial)}{note}\n")
        sys.stdout.flush()
    sys.stdout.write(f"{killed} of {len(chosen)} refuted, {surprises} unexpected\n")
    return int(surprises > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
