"""A report as metrics of MLflow, in the run that is active or one that is named."""

from __future__ import annotations

from holdfast.effectiveness.gauges import scalars
from holdfast.effectiveness.report import Report
from holdfast.errors import MissingDependency


def log_report(report: Report, run_id: str | None = None) -> None:
    """Log the numbers of a report, at the step that the run has come to.

    Args:
        report: What is told.
        run_id: Of a run of MLflow; the active one, or a new one, if None.

    Raises:
        MissingDependency: The package ``mlflow`` is not there.
    """
    try:
        import mlflow
    except ImportError as error:
        raise MissingDependency(
            "Metrics for MLflow need a package: pip install 'holdfast[mlflow]'."
        ) from error
    named = {f"holdfast/{name}": value for name, value in scalars(report).items()}
    mlflow.log_metrics(named, step=report.steps, run_id=run_id)
