"""The stages' steps, one after the other."""

from repoloom.recipe.sections import DATA_PATH, steps


def test_only_the_tables_that_stages_hand_on_have_more_than_one_maker() -> None:
    makers: dict[str, set[str]] = {}
    for stage in DATA_PATH:
        for step in steps(stage):
            for table in step.writes:
                makers.setdefault(table, set()).add(step.name)
    shared = {table for table, names in makers.items() if len(names) > 1}
    assert shared == {"files", "documents", "dropped", "heldout_files"}, "a table of one name hides the other"
