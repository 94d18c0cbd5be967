"""Pictures of the dashboards, for the documentation: `python -m tests.pictures`.

Grafana can't be had from a package registry. So the pictures are drawn here, from the JSON that Grafana would load:
its grid, types of panels, targets and legends. The values are answers of a real Prometheus to the real queries. It is
fed by a generated hour of a mesh (`scenario.py`), and its recorded series are computed by promtool from the rules of
the stack. A query that is answered with nothing stops the drawing.
"""
