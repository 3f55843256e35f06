"""Files for Prometheus and Grafana that scrape and show what the dashboard serves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from ai_how.files import write_whole

_EVERY = "5s"
# title, expression, legend, unit of Grafana
_PANELS = (
    ("Nodes by state", "sum by (state) (slurm_nodes)", "{{state}}", "short"),
    ("Cores in use", "sum(slurm_node_cores_allocated)", "in use", "short"),
    ("Jobs", "sum by (state) (slurm_jobs)", "{{state}}", "short"),
    ("Longest wait", "slurm_queue_oldest_seconds", "waits", "s"),
    ("Generic resources in use", "slurm_gres_used", "{{name}}:{{type}}", "short"),
    ("Job efficiency", "slurm_job_cpu_efficiency", "{{job}} {{name}}", "percentunit"),
    ("Memory held", "sum by (node) (slurm_node_memory_allocated_bytes)", "{{node}}", "bytes"),
    ("Time of a scrape", "slurm_scrape_seconds", "scrape", "s"),
)


def prometheus_config(name: str, target: str) -> str:
    """Return prometheus.yml that scrapes `target` (host:port) for the cluster `name`."""
    scrape = {
        "job_name": "slurm",
        "static_configs": [{"targets": [target], "labels": {"cluster": name}}],
    }
    data = {"global": {"scrape_interval": _EVERY}, "scrape_configs": [scrape]}
    return yaml.safe_dump(data, sort_keys=False)


def grafana_dashboard(name: str) -> dict[str, Any]:
    """Return a dashboard as Grafana takes it (schema version 39), of a cluster's figures."""
    panels = []
    for number, (title, expression, legend, unit) in enumerate(_PANELS):
        panels.append(
            {
                "id": number + 1,
                "title": title,
                "type": "timeseries",
                "datasource": {"type": "prometheus", "uid": "${source}"},
                "gridPos": {"h": 8, "w": 12, "x": 12 * (number % 2), "y": 8 * (number // 2)},
                "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []},
                "targets": [{"refId": "A", "expr": expression, "legendFormat": legend}],
            }
        )
    source = {"name": "source", "label": "Prometheus", "type": "datasource", "query": "prometheus"}
    return {
        "title": f"SLURM, {name}",
        "uid": f"ai-how-{name}"[:40],
        "schemaVersion": 39,
        "refresh": _EVERY,
        "time": {"from": "now-30m", "to": "now"},
        "templating": {"list": [source]},
        "panels": panels,
    }


def grafana_files(name: str, prometheus_url: str, dashboards: str) -> dict[str, str]:
    """Return Grafana's provisioning by file name; `dashboards` is where Grafana finds them."""
    source = {
        "apiVersion": 1,
        "datasources": [
            {"name": "Prometheus", "type": "prometheus", "access": "proxy", "url": prometheus_url}
        ],
    }
    provider = {
        "apiVersion": 1,
        "providers": [{"name": "ai-how", "type": "file", "options": {"path": dashboards}}],
    }
    return {
        "grafana/provisioning/datasources/prometheus.yml": yaml.safe_dump(source, sort_keys=False),
        "grafana/provisioning/dashboards/ai-how.yml": yaml.safe_dump(provider, sort_keys=False),
        "grafana/dashboards/slurm.json": json.dumps(grafana_dashboard(name), indent=1) + "\n",
    }


def write_files(folder: Path, name: str, target: str) -> list[Path]:
    """Write all files into `folder`; return which."""
    dashboards = str((folder / "grafana" / "dashboards").absolute())
    texts = {"prometheus.yml": prometheus_config(name, target)}
    texts |= grafana_files(name, "http://127.0.0.1:9090", dashboards)
    for path, text in texts.items():
        write_whole(folder / path, text)
    return [folder / path for path in texts]
