"""The nouns: frozen values, standard library only."""

from pennyweight.core.artifact import Artifact, Session
from pennyweight.core.bill import Basis, Bill, Cost, Phase
from pennyweight.core.certificate import Certificate, Trial
from pennyweight.core.count import Count
from pennyweight.core.front import Front
from pennyweight.core.job import Demand, Job, Limits, Objective
from pennyweight.core.lever import YES, Lever, Stage, Verdict, no
from pennyweight.core.look import Look
from pennyweight.core.plan import Plan
from pennyweight.core.run import Run
from pennyweight.core.score import Floor, Score, Slack, higher_is_better
from pennyweight.core.spec import DataSpec, Form, Kind, Op, Regular, ServeSpec, Spec, Task, TeamSpec, TrainSpec
from pennyweight.core.work import Work

__all__ = [
    "YES",
    "Artifact",
    "Basis",
    "Bill",
    "Certificate",
    "Cost",
    "Count",
    "DataSpec",
    "Demand",
    "Floor",
    "Form",
    "Front",
    "Job",
    "Kind",
    "Lever",
    "Limits",
    "Look",
    "Objective",
    "Op",
    "Phase",
    "Plan",
    "Regular",
    "Run",
    "Score",
    "ServeSpec",
    "Session",
    "Slack",
    "Spec",
    "Stage",
    "Task",
    "TeamSpec",
    "TrainSpec",
    "Trial",
    "Verdict",
    "Work",
    "higher_is_better",
    "no",
]
