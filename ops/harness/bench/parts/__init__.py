"""One file a part: `run(servers)` measures, and answers what goes into results.json."""
