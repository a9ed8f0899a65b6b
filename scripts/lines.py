"""What a run prints of itself: a line a job, how far it is, and what to open in the end.

Snakemake prints it, through its own handler; its file in .snakemake/log has what is left out here.
"""

import logging
import time
from collections.abc import Callable

from snakemake_interface_logger_plugins.common import LogEvent

# Of how jobs are chosen and counted: each begins with one of these.
LEFT_OUT = (
    *("Building DAG of jobs", "Using shell", "Assuming unrestricted", "Select jobs to execute"),
    *("Complete log(s)", "Elapsed time"),
)
# Said when say_errors has said which job, and why.
FAILED = "At least one job did not complete successfully"
NOTHING = "Nothing to be done"
EVENTS = {LogEvent.RESOURCES_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED, LogEvent.PROGRESS}


class Lines(logging.Formatter):
    """own: the formatter in whose place it stands, which writes all that is of no job. last: what
    is said where nothing is to be done. dry: whether the run is a dry one, which Snakemake itself
    writes; known when it begins, not when the Snakefile is read."""

    def __init__(
        self, own: logging.Formatter, last: Callable[[], str], dry: Callable[[], bool]
    ) -> None:
        super().__init__()
        self.own, self.last, self.dry = own, last, dry
        self.begun: set[int] = set()  # a job that is tried again keeps its number
        self.total = 0

    def format(self, record: logging.LogRecord) -> str:
        """A line, or nothing, which Snakemake's handler does not print."""
        if self.dry():
            return self.own.format(record)
        event, text = getattr(record, "event", None), str(record.msg or "")
        if event == LogEvent.RUN_INFO:
            self.total = record.stats["total"]
            return f"{self.total} steps"
        if event == LogEvent.JOB_INFO and record.rule_msg:
            self.begun.add(record.jobid)
            return f"{time.strftime('%H:%M:%S')} [{len(self.begun)}/{self.total}] {record.rule_msg}"
        if event == LogEvent.JOB_ERROR:
            return f"{time.strftime('%H:%M:%S')} failed: {record.rule_name}{_logs(record.log)}"
        if event in EVENTS or text.startswith(LEFT_OUT) or FAILED in text:
            return ""
        said = self.own.format(record)
        return f"{said}\n{self.last()}".rstrip() if text.startswith(NOTHING) else said


def _logs(files) -> str:
    return f" ({', '.join(map(str, files))})" if files else ""


def print_lines(last: Callable[[], str], dry: Callable[[], bool]) -> None:
    """Has the handler of Snakemake's that prints to the screen print lines."""
    from snakemake.logging import logger

    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            handler.setFormatter(Lines(handler.formatter, last, dry))
