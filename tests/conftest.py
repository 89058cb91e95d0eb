"""Set before numpy is imported: the same one BLAS thread as on the command line."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
