"""The order of the stages: what `train`, `audit`, `evaluate`, `predict` and `report` do, however they are called.

`training` is the whole job, in the order of `training.train`; `scanning`, `scoring` and `provenance` are its pieces.
`inspection` looks at a folder, `finished` works with what a training left behind, `comparing` with two of them,
`explaining` with one picture, `exporting` takes one elsewhere.
"""

from fieldguide.workflow.comparing import compare
from fieldguide.workflow.explaining import explain
from fieldguide.workflow.exporting import bench_export, card, export
from fieldguide.workflow.finished import evaluate, predict, report, verify
from fieldguide.workflow.inspection import audit
from fieldguide.workflow.rates import lr_find
from fieldguide.workflow.reproducing import reproduce
from fieldguide.workflow.training import train

__all__ = [
    "audit",
    "bench_export",
    "card",
    "compare",
    "evaluate",
    "explain",
    "export",
    "lr_find",
    "predict",
    "report",
    "reproduce",
    "train",
    "verify",
]
