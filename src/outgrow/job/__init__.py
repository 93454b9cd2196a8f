"""The main job: what a JOB.yaml says, run from data to report."""
