"""Strata: probes language models across scales and layers. Knows nothing of Snakemake."""
