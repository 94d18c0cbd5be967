"""A real Prometheus and a real Zipkin beside an embedded cluster: they scrape its proxies and take their spans."""
