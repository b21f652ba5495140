"""Jobs from what people have: a model and arrays, a data loader, a CSV file, a recipe in Python."""

from pennyweight.jobs.intake import from_loader
from pennyweight.jobs.making import Asked, sklearn_job, torch_job
from pennyweight.jobs.packed import read_columnar
from pennyweight.jobs.recipe import load_recipe
from pennyweight.jobs.table import table

__all__ = ["Asked", "from_loader", "load_recipe", "read_columnar", "sklearn_job", "table", "torch_job"]
