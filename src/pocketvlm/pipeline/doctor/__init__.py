"""What can be known before anything runs: the configuration, the servers, the machine."""

from pocketvlm.pipeline.doctor.checks import check_ready, examine
from pocketvlm.pipeline.doctor.settings import write_config
from pocketvlm.pipeline.doctor.shown import told

__all__ = ["check_ready", "examine", "told", "write_config"]
