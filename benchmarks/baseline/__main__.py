"""`python -m benchmarks.baseline PORT`: serve with the same server as Tallyboard."""

import sys

import uvicorn

uvicorn.run("benchmarks.baseline.api:app", port=int(sys.argv[1]), loop="uvloop", http="httptools", access_log=False, log_level="warning")
