"""The tasks by name. A task is a module with `NAME`, `KEYS`, `INSTRUCTION`, `example`, `render` and `parse`."""

import maintenance_report
import order_json

TASKS = {task.NAME: task for task in (order_json, maintenance_report)}
