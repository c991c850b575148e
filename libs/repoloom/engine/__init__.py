"""Running a step over datasets: plan its tasks, see what is committed, do what is missing."""
