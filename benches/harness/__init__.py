"""The parts of `benches/run`: machine, proxies, measures, report. Standard library only."""
