"""A longer campaign: `python tests/chaos/run.py --seeds 20` storms once for each seed and prints what it came to."""

import argparse
import sys
import tempfile
import traceback
from collections import Counter
from pathlib import Path

_HERE = Path(__file__).parent
sys.path += [str(_HERE), str(_HERE.parent / "faults"), str(_HERE.parent / "extra_stages")]

import s3_servers  # noqa: E402 - it lies in a folder just added
from calm import problems, undisturbed  # noqa: E402
from storm import storm  # noqa: E402
from storm_corpus import make_recipe  # noqa: E402


def main() -> int:
    """Returns how many seeds failed."""
    wanted = argparse.ArgumentParser(description=__doc__)
    wanted.add_argument("--seeds", type=int, default=20, help="how many")
    wanted.add_argument("--first", type=int, default=1, help="the first seed")
    wanted.add_argument("--faults", type=int, default=200, help="the least for each seed")
    wanted.add_argument("--server", choices=s3_servers.kinds(), default=s3_servers.kinds()[-1])
    wanted.add_argument("--seconds", type=float, default=600, help="the longest that one may take")
    wanted.add_argument("--folder", type=Path, help="where logs stay; default: a new one")
    given = wanted.parse_args()
    folder: Path = (given.folder or Path(tempfile.mkdtemp(prefix="storms-"))).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    recipe = make_recipe(folder)
    expected = undisturbed(folder, recipe)
    print(f"{len(expected)} steps; logs are in {folder}", flush=True)
    kinds: Counter[str] = Counter()
    failed = 0
    for seed in range(given.first, given.first + given.seeds):
        place = folder / f"seed-{seed}"
        place.mkdir()
        try:
            came_to = storm(
                place,
                recipe,
                seed,
                given.server,
                given.faults,
                given.seconds,
                lambda fleet, storm: storm.problems.extend(problems(fleet, storm, expected)),
            )
        except Exception:
            traceback.print_exc()
            failed += 1
            continue
        kinds += came_to.kinds
        failed += bool(came_to.problems)
        again = len(came_to.began) - len({task for task, _ in came_to.began})
        print(
            f"seed {seed:>4}  {'FAILED' if came_to.problems else 'ok':<6}  {len(came_to.log):>4} faults  "
            f"{came_to.seconds:>5.0f} s  {len(came_to.runs)} runs  {len(came_to.began)} executions, {again} of them "
            "begun before another had committed",
            flush=True,
        )
        for problem in came_to.problems:
            print(f"    {problem}", flush=True)
    print(f"\n{sum(kinds.values())} faults, {failed} of {given.seeds} seeds failed")
    for kind, number in kinds.most_common():
        print(f"{number:>6}  {kind}")
    return failed


if __name__ == "__main__":
    sys.exit(min(1, main()))
