"""The worker process: joins a run, trains one stage, leaves."""
