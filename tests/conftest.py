import os

# Tiny models gain nothing from threads, and threads of parallel test processes fight.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
