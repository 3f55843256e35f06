"""A cluster file to start from, every key with its meaning."""

from __future__ import annotations

from pathlib import Path

from ai_how.config.load import ConfigError, parse_cluster
from ai_how.config.yaml_lines import Problem
from ai_how.files import write_whole

_TEXT = """\
# A SLURM cluster on this machine. Make it with   ai-how up {file}
# `ai-how plan {file}` shows what would be made; remove the '# ' before a key to change it.
version: 1
metadata:
  name: {name}                # its name on this machine
  # description: for the course
global:
  # driver: auto              # nspawn, libvirt (virtual machines): nodes boot; process: they do not
  # packages: [openmpi-bin]   # Debian packages in every node that boots
  overcommit: true            # nodes share the cores of this machine: to learn, not to time
clusters:
  hpc:
    # name: {name}            # SLURM's name for it
    # network:
    #   subnet: 10.77.0.0/24  # the first address is this machine's
    #   bridge: aihow0
    controller:
      name: controller
      # cpu: 1
      # memory: 1G
    compute_nodes:            # one group, or a list of them
      - name: node            # node01, node02
        count: {count}
        cpu: 1
        memory: 1G            # 512M, 2G; a bare number is MiB
        # disk: 10G
        # ip: 10.77.0.11      # of the first; left out: the next free one
        # auto_start: true
        gpus:                 # emulated: for --gres=gpu:1, not for CUDA
          count: 1
          type: emulated
        # mounts:
        #   - {{source: /data, target: /data, read_only: true}}
    slurm:
      partitions:
        - name: main
          # nodes: [node]     # groups or nodes; left out: all
          # max_time: UNLIMITED
          # default_time: 60
          # max_nodes: 2
      # default: main
      # accounting: auto      # slurmdbd (nodes boot): for sacct; text: a line a job; none
      # limits: {{max_jobs: 10000, max_array: 1001}}
    # storage:
    #   shared: /srv/shared   # a folder of this machine that every node sees
"""


def template_text(name: str, count: int = 2, file: str = "cluster.yaml") -> str:
    """Return the text of a cluster file; raises ConfigError for a name that is refused."""
    text = _TEXT.format(name=name, count=count, file=file)
    parse_cluster(text, file)
    return text


def write_template(path: Path, name: str, count: int = 2, *, force: bool = False) -> Path:
    """Write a cluster file to `path` and return it.

    Raises ConfigError for a name that is refused, and where `path` exists and `force` is false.
    """
    if path.is_dir():
        raise ConfigError(str(path), [Problem(None, "", "is a folder; name a file")])
    if path.exists() and not force:
        message = "exists already; use --force to overwrite it"
        raise ConfigError(str(path), [Problem(None, "", message)])
    text = template_text(name, count, path.name)
    try:
        write_whole(path, text)
    except OSError as error:
        message = f"cannot be written ({error.strerror})"
        raise ConfigError(str(path), [Problem(None, "", message)]) from None
    return path
