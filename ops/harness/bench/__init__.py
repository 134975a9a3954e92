"""Rates, CPU and memory of sluice beside what it is measured against. Ratios of one run count, single times do not."""
