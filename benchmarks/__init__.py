"""Speed and memory, side by side with other backtesters in one run: `python -m benchmarks`."""
